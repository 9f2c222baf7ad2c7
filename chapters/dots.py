"""How a training run shows its progress in a chapter: a few dots, the same every time, where a bar would show times."""


class Dots:
    """As much of a tqdm bar as a TrainingRun needs: a dot for every ``every`` steps, each mAP, and remarks."""

    def __init__(self, every=20):
        self.n, self.every = 0, every
        self.format_dict = {"ncols": None}  # no terminal, so no width

    def update(self, steps=1):
        before, self.n = self.n, self.n + steps
        print("." * (self.n // self.every - before // self.every), end="", flush=True)

    def set_description_str(self, text, refresh=True):
        pass

    def refresh(self):
        pass

    def write(self, text, file=None):
        print(text)

    def set_postfix_str(self, text, refresh=True):
        if text.startswith("mAP"):
            print(f" step {self.n}: {text}")
