"""Runs every test of this folder and closes with a count that `make test` adds up."""

import pathlib
import sys
import unittest

import msal

import stand


def main() -> int:
    here = pathlib.Path(__file__).parent
    names = sys.argv[1:]
    loader = unittest.defaultTestLoader
    sys.path.insert(0, str(here))
    suite = loader.loadTestsFromNames(names) if names else loader.discover(str(here))
    print(f"msal {msal.__version__} against {stand.program()}")
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    stand.stop()
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    skipped = len(result.skipped)
    print(f"interop: {result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
