"""Reads a suite's results, prints its summary line, and fails when a test fails unexpectedly.

Usage: judge.py NAME RESULTS EXCLUDED. RESULTS is JUnit's XML, or what `cargo test` prints. EXCLUDED
has a test per line, `*` standing for anything, and the reason after ` # `. A failure that is
excluded counts as skipped.
"""

import re
import sys
import xml.etree.ElementTree

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


def from_xml(text):
    for case in xml.etree.ElementTree.fromstring(text).iter("testcase"):
        kinds = {child.tag for child in case}
        broken = kinds & {"failure", "error"}
        verdict = FAILED if broken else SKIPPED if "skipped" in kinds else PASSED
        yield f"{case.get('classname')}::{case.get('name')}", verdict


def from_cargo(text):
    program = ""
    for line in text.splitlines():
        if found := re.search(r"Running (?:unittests )?(\S+)", line):
            program = found[1]
        if "error: could not compile" in line:
            yield f"{program}::compiles", FAILED
        if found := re.search(r"^test (\S+)(?: - should panic)? \.\.\. ", line):
            ending = re.search(r"(ok|FAILED|ignored)", line[found.end():])
            open_test = f"{program}::{found[1]}"
            if ending:
                yield open_test, {"ok": PASSED, "FAILED": FAILED, "ignored": SKIPPED}[ending[1]]
        elif line in ("ok", "FAILED"):
            # What the test printed came between its name and its verdict.
            yield open_test, PASSED if line == "ok" else FAILED


def excluded(path):
    patterns = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            pattern, _, reason = line.strip().partition(" # ")
            if pattern and not pattern.startswith("#"):
                assert reason, f"{path}: {pattern} is excluded without a reason"
                patterns.append(re.escape(pattern).replace(r"\*", ".*") + r"\Z")
    return patterns


def main(name, results, exclusions):
    with open(results, encoding="utf-8", errors="replace") as file:
        text = file.read()
    verdicts = list(from_xml(text) if text.lstrip().startswith("<") else from_cargo(text))
    patterns = excluded(exclusions)
    count = {PASSED: 0, FAILED: 0, SKIPPED: 0}
    for test, verdict in verdicts:
        if verdict == FAILED:
            if any(re.match(it, test, re.DOTALL) for it in patterns):
                verdict = SKIPPED
            else:
                print(f"{name}: FAILED {test}")
        count[verdict] += 1
    print(name, *(f"{key}={value}" for key, value in count.items()))
    return 1 if count[FAILED] or not count[PASSED] else 0


sys.exit(main(*sys.argv[1:]))
