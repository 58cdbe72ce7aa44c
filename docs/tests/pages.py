"""Runs the commands of pages in docs/ as a reader would, and compares what they answer. Usage: pages.py [PAGE …]

A fence `console` has commands behind `$ ` and what they say; `…` stands for anything, and alone on a line for any lines. A fence `sh`
has commands that must succeed. A comment right above a fence says what else is to be known of it:

    <!-- run: in the background, until "TEXT" -->        goes on till the end of the page, and ends at Ctrl-C
    <!-- run: a person allows, and signs in as USER -->  at the address that the command prints
    <!-- run: fails -->                                  the command ends with another code than 0
    <!-- run: add to FILE -->, <!-- run: write as FILE -->
    <!-- run: beside an edge that serves FILE -->        from there to the end of the page
    <!-- run: not here: WHY -->

Ports and the example's host are exchanged for free ports on loopback. The last line is the count, for .ci/total.
"""

import re
import sys
import tempfile
import unittest
from pathlib import Path

from place import Place

DOCS = Path(__file__).resolve().parent.parent
PAGES = ["tutorial", "howto/rotate-keys", "howto/add-an-upstream", "howto/lock-registration-down", "howto/from-api-management"]
MARK = re.compile(r"<!-- run: (.*) -->")


class Deviation(Exception):
    """What a page says is not what happens."""


def blocks(text):
    """The fences of a page: line, language, mark, content."""
    found, mark, fence = [], "", None
    for number, line in enumerate(text.splitlines(), 1):
        if fence is not None:
            if line == "```":
                found.append(fence)
                fence = None
            else:
                fence[3].append(line)
        elif line.startswith("```"):
            fence = (number, line[3:].strip(), mark, [])
            mark = ""
        elif said := MARK.fullmatch(line.strip()):
            mark = said.group(1)
        else:
            mark = ""
    return found


def commands(language, lines):
    """Each command with what it is to say; `None` when that is not told."""
    if language == "sh":
        return [("\n".join(lines), None)]
    found = []
    for line in lines:
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif not found:
            raise Deviation(f"a fence `console` begins with a command, not with {line!r}")
        else:
            found[-1][1].append(line)
    return found


def pattern(lines):
    """What the lines of an answer stand for."""
    whole = ""
    for line in lines:
        if line.strip() == "…":
            whole += r"(?:.*\n)*?"
        else:
            whole += ".*".join(re.escape(part) for part in line.rstrip().split("…")) + r"[ \t]*\n"
    return re.compile(whole)


def compare(said, wanted):
    said = said.replace("\r", "")
    if said and not said.endswith("\n"):
        said += "\n"
    if not pattern(wanted).fullmatch(said):
        raise Deviation("it should have said:\n" + "\n".join(wanted) + "\nbut said:\n" + said[:2000])


def run_block(place, language, mark, lines):
    """The number of commands that were run."""
    lines = [place.here(line) for line in lines]
    if said := re.fullmatch(r"(add to|write as) (\S+)", mark):
        place.write(said.group(2), "\n".join(lines) + "\n", adds=said.group(1) == "add to")
        return 0
    if language not in ("sh", "console"):
        if mark:
            raise Deviation(f"a fence `{language}` is not run, and has the mark {mark!r}")
        return 0
    if mark.startswith("not here: "):
        return 0
    if said := re.fullmatch(r"beside an edge that serves (\S+)", mark):
        place.serve(said.group(1))
    elif not re.fullmatch(r'|fails|in the background, until ".+"|a person allows, and signs in as \S+', mark):
        raise Deviation(f"an unknown mark: {mark}")
    found = commands(language, lines)
    for command, wanted in found:
        if said := re.fullmatch(r'in the background, until "(.+)"', mark):
            compare(place.start(command, said.group(1)), wanted)
            continue
        user = re.fullmatch(r"a person allows, and signs in as (\S+)", mark)
        said, code = place.run(command, user and user.group(1))
        if (code == 0) == (mark == "fails"):
            raise Deviation(f"it ended with {code}, and said:\n{said}")
        if wanted is not None:
            compare(said, wanted)
    return len(found)


def run_page(name):
    """The numbers of commands that did as the page says, and of those that did not."""
    passed = 0
    with tempfile.TemporaryDirectory(prefix="sallyport-docs-") as folder, Place(name, Path(folder)) as place:
        for number, language, mark, lines in blocks((DOCS / f"{name}.md").read_text()):
            try:
                count = run_block(place, language, mark, lines)
            except (Deviation, TimeoutError, AssertionError, OSError) as error:
                # What comes after builds on this.
                print(f"FAILED: {name}.md:{number}: {error}", flush=True)
                return passed, 1
            if count:
                print(f"ok: {name}.md:{number}: {lines[0]}", flush=True)
            elif mark.startswith("not here: "):
                print(f"left out: {name}.md:{number}: {mark[len('not here: '):]}", flush=True)
            passed += count
        try:
            place.stop()
        except TimeoutError as error:
            print(f"FAILED: {name}.md: {error}", flush=True)
            return passed, 1
    return passed, 0


def run_itself():
    tried = unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromName("itself"))
    failed = len(tried.failures) + len(tried.errors)
    return tried.testsRun - failed, failed


def main(names):
    results = [run_itself(), *(run_page(name) for name in names or PAGES)]
    passed, failed = (sum(column) for column in zip(*results))
    print(f"docs: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
