"""The command line: ``python -m fmnotes run | progress | records | museum``."""

import argparse
import sys

from fmnotes import __doc__ as about


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments say and return the exit status: 0 done, 1 something is wrong, 2 cannot be asked for."""
    chosen = parser().parse_args(arguments)
    try:
        return chosen.do(chosen)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """All commands with their options and help."""
    top = argparse.ArgumentParser(prog="python -m fmnotes", description=about)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="execute notebooks", description="Execute notebooks from top to bottom.")
    run.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="such as 01_bpe; all numbered ones if none")
    run.add_argument("--course", metavar="NAME", help="practical, vision, multimodal or complete")
    run.add_argument("--profile", default="quick", help="which parameters to run with (default: quick)")
    run.add_argument("--all", action="store_true", help="also those in folders: the guide, the template")
    run.set_defaults(do=_run)

    progress = commands.add_parser("progress", help="which exercises are solved", description="List the exercises.")
    progress.set_defaults(do=_progress)

    records = commands.add_parser("records", help="the numbers that runs measured", description="Keep records.")
    actions = records.add_subparsers(required=True, metavar="ACTION")
    commit = actions.add_parser("commit", help="make the fresh records of a profile the committed ones")
    commit.add_argument("profile", metavar="PROFILE", help="such as quick")
    commit.set_defaults(do=_records, act=_records_commit)
    render = actions.add_parser("render", help="write the committed records into README.md")
    render.set_defaults(do=_records, act=_records_render)
    check = actions.add_parser("check", help="find where README.md and the committed records part")
    check.set_defaults(do=_records, act=_records_check)

    museum = commands.add_parser("museum", help="the embedded data set", description="Make the embedded data set.")
    actions = museum.add_subparsers(required=True, metavar="ACTION")
    build = actions.add_parser("build", help="write the committed sample under data/museum")
    build.set_defaults(do=_museum_build)
    sample = actions.add_parser("sample", help="print some of it to read")
    sample.add_argument("config", metavar="CONFIG", help="such as stories")
    sample.add_argument("--count", type=_count, default=5, help="how many (default: 5)")
    sample.add_argument("--seed", type=int, default=0, help="which ones (default: 0)")
    sample.set_defaults(do=_museum_sample)
    return top


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no count: give a whole number, 0 or more")
    return int(text)


def _run(chosen: argparse.Namespace) -> int:
    from fmnotes.courses import course
    from fmnotes.run import RunError, run

    try:
        if chosen.course and (chosen.notebooks or chosen.all):
            raise RunError("Name either notebooks or a course; or all of them.")
        names = course(chosen.course, chosen.profile) if chosen.course else chosen.notebooks
        return run(names, chosen.profile, chosen.all)
    except RunError as error:
        print(error, file=sys.stderr)
        return 2


def _progress(chosen: argparse.Namespace) -> int:
    from fmnotes import exercises
    from fmnotes.exercises import progress
    from fmnotes.run import available

    notebooks = {exercises.chapter_of(name): name for name in available()}
    chapters = {notebooks.get(chapter, chapter): exercises.of_chapter(chapter) for chapter in exercises.CHAPTERS}
    print(progress.table(chapters, progress.load()))
    return 0


def _records(chosen: argparse.Namespace) -> int:
    try:
        return chosen.act(chosen)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


def _records_commit(chosen: argparse.Namespace) -> int:
    from fmnotes import records

    print("\n".join(records.commit(chosen.profile)) or "Nothing changed.")
    return 0


def _records_render(chosen: argparse.Namespace) -> int:
    from fmnotes import records

    print("\n".join(records.render()) or "Nothing changed.")
    return 0


def _records_check(chosen: argparse.Namespace) -> int:
    from fmnotes import records

    found = records.check()
    print("\n".join(found) or "README.md says what is recorded.")
    return 1 if found else 0


def _museum_build(chosen: argparse.Namespace) -> int:
    from fmnotes.museum import build

    build.main()
    return 0


def _museum_sample(chosen: argparse.Namespace) -> int:
    from fmnotes.museum import build

    try:
        build.sample(chosen.config, chosen.count, chosen.seed)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
