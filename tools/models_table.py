"""Writes the table of families in docs/models.md: what each was compared with, and how well it agrees.

    .venv-oracle/bin/python tools/models_table.py [--check]

Takes some minutes. With --check nothing is written; the exit status tells whether the table is as it would be written.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "torch"))

from parity import all_families, measure  # noqa: E402

PAGE = ROOT / "docs" / "models.md"
BEGIN, END = "<!-- table: written by tools/models_table.py -->", "<!-- end of table -->"


def table() -> str:
    lines = [
        "| family | reference | results compared | agree | farthest off | confidence off |",
        "|-|-|-:|-:|-:|-:|",
    ]
    notes = []
    for family in all_families():
        agreement = measure(family)
        share = agreement.agreed / agreement.compared if agreement.compared else 0.0
        name = family.name
        if family.note:
            if family.note not in notes:
                notes.append(family.note)
            name += f" [{notes.index(family.note) + 1}]"
        lines.append(
            f"| {name} | {family.reference} | {agreement.compared} | {share:.2%} | {agreement.pixels:.1g} px "
            f"| {agreement.score:.1g} |"
        )
    told = [f"[{number}] {note}  " for number, note in enumerate(notes, 1)]
    return "\n".join([*lines, "", *told]).rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    old = PAGE.read_text()
    head, rest = old.split(BEGIN)
    _, tail = rest.split(END)
    new = f"{head}{BEGIN}\n{table()}\n{END}{tail}"
    if args.check:
        return int(new != old)
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
