"""How a decision's reason begins, the same for every policy: `5`, or `3 → 5` where it changes."""


def change(before: int, after: int) -> str:
    return f"{after}" if before == after else f"{before} → {after}"
