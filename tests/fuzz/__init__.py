"""Generated inputs for everything that opens a file or a command line: ``python -m tests.fuzz`` is the long run."""
