"""What can go wrong, by whose fault it is; the command line and the web error page turn these into words.

    ClaireError            1  something failed; message says what, hint says the next command
      UsageError           2  the caller gave a value that cannot be
      NotFound             3  no such thing
        Ambiguous          3  several such things; the candidates are named
      Partial              4  done, but some hosts are unknown
      Refused              5  understood, and not allowed
      Unverified           6  text was typed and nobody can say whether it arrived
      StorageError         1  the disk, the folder or the database file
        NoDatabase         1  nothing here yet
        NewerSchema        1  written by a newer Claire
        Corrupt            1  the file is damaged

The number is the exit code of the command that meets the error.
"""

from collections.abc import Sequence


class ClaireError(Exception):
    """A failure with one sentence for the user and, where there is one, the next command to try."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ClaireError):
    exit_code = 2


class NotFound(ClaireError):
    exit_code = 3


class Ambiguous(NotFound):
    """A reference that fits several things; `candidates` are lines that tell them apart."""

    def __init__(self, message: str, candidates: Sequence[str]) -> None:
        super().__init__(message, "use more characters of the id")
        self.candidates = list(candidates)


class Partial(ClaireError):
    exit_code = 4


class Refused(ClaireError):
    exit_code = 5


class Unverified(ClaireError):
    exit_code = 6


class StorageError(ClaireError):
    pass


class NoDatabase(StorageError):
    pass


class NewerSchema(StorageError):
    pass


class Corrupt(StorageError):
    pass
