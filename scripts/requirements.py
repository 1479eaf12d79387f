"""Print the requirements of this project and of some extras, one a line: `requirements.py dev`."""

import re
import sys
from pathlib import Path


def strings(text: str) -> list[str]:
    """Return the quoted items of a TOML list."""
    return re.findall(r'"([^"]+)"', text)


def main() -> None:
    """Read pyproject.toml without a TOML library: Python 3.10 has none."""
    text = (Path(__file__).resolve().parent.parent / "pyproject.toml").read_text()
    wanted = strings(re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL).group(1))
    for extra in sys.argv[1:]:
        wanted += strings(re.search(rf"^{extra} = \[(.*?)\]\s*$", text, re.MULTILINE | re.DOTALL).group(1))
    print("\n".join(dict.fromkeys(wanted)))


if __name__ == "__main__":
    main()
