"""The one exception that means "the input is wrong", as opposed to "the program is wrong"."""


class UserError(Exception):
    """A mistake in a file, an argument or a label that the person at the keyboard can mend.

    The message is one clear sentence that names the file, line or layer and says what to do.
    The command line prints it without a traceback and ends with exit code 1.
    """
