"""Who is a member, as it follows from pins, admissions and revocations, in whatever order they were heard. Pure."""

LATEST = "~"  # sorts after every stamp

Admission = tuple[str, str, str, str, str]  # issuer, machine_id, public_key, name, hlc
Revocation = tuple[str, str, str, str]  # issuer, machine_id, through_hlc, hlc
Admitted = dict[str, tuple[str, str, str | None]]  # machine -> (public_key, name, admitted by)


def closure(
    own: str, pins: dict[str, tuple[str, str]], admissions: list[Admission], revocations: list[Revocation]
) -> tuple[Admitted, dict[str, str]]:
    """(members, revoked: machine -> stamp up to which its events belong), from facts in (hlc, uuid) order.

    Rooted in the pins; each key is already known to be its machine's. What a machine says that is no member, or
    beyond its own revocation, does not count. Of two revocations the lower stamp holds. A revocation of ourselves is
    not obeyed: a thief must not lock the owner out.
    """
    admitted: Admitted = {machine: (key, name, None) for machine, (key, name) in pins.items()}
    admitted_at: dict[str, str] = {}
    through: dict[str, str] = {}
    while True:
        before = (len(admitted), through)
        for issuer, machine, key, name, stamp in admissions:
            counts = issuer in admitted and stamp <= through.get(issuer, LATEST)
            if counts and machine not in admitted:
                admitted[machine], admitted_at[machine] = (key, name, issuer), stamp
        through = {}
        for issuer, machine, cut, stamp in revocations:
            counts = issuer in admitted and stamp <= through.get(issuer, LATEST)
            if counts and machine != own and not _owes(issuer, machine, cut, admitted, admitted_at):
                through[machine] = min(cut, through.get(machine, cut))
        if before == (len(admitted), through):
            return admitted, through


def _owes(issuer: str, machine: str, cut: str, admitted: Admitted, admitted_at: dict[str, str]) -> bool:
    """True if `issuer` is a member only by a word of `machine` beyond `cut`: then its revocation would undo itself."""
    while (admitter := admitted[issuer][2]) is not None:
        if admitter == machine and admitted_at[issuer] > cut:
            return True
        issuer = admitter
    return False
