"""``yolov3 train`` with a fault in one of its processes: ``python -m tests.yolov3.faulty_rank FAULT RANK STEP ...``.

In rank RANK, when step STEP (from 1) is due, something happens.  FAULT names it:

    none        nothing: a run as any other
    killed      the process is killed, without a chance to say so
    picture     UserError, as for a picture that turns out to be broken
    bug         an exception that is a mistake of the program
    not-finite  its share of the pictures has infinite numbers in it
    full-disk   from now on no file may become larger than a kilobyte

Figures, which take longer than all else in a short run, are not drawn.
"""

import os
import resource
import signal
import sys
from dataclasses import replace

from yolov3 import training_log
from yolov3.cli import main
from yolov3.errors import UserError
from yolov3.launchers import launched
from yolov3.learner import Learner


def fail(fault, batch):
    """Do what the fault is; the batch to go on with."""
    match fault:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "picture":
            raise UserError("photo.jpg is broken: take it out of the data")
        case "bug":
            return 1 // 0
        case "not-finite":
            return replace(batch, images=batch.images * float("inf"))
        case "full-disk":
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails, as on a disk that is full
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
    return batch


def plant(fault, faulty_step):
    """Let the fault happen before a step."""
    step_of_learner = Learner.step

    def step(self, batch, number):
        return step_of_learner(self, fail(fault, batch) if number == faulty_step else batch, number)

    Learner.step = step


if __name__ == "__main__":
    fault, rank, step, *arguments = sys.argv[1:]
    training_log.plot_labels = training_log.plot_training_curves = lambda *arguments: None
    if launched()[0] == int(rank):
        plant(fault, int(step))
    main(arguments)
