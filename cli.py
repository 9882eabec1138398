"""The `auspex` command: everything an operator does, each with `--help`."""

import typer

from commands import accounts, catalogue, demo, exports, jobs, serving, training

app = typer.Typer(
    name="auspex",
    help="One GraphQL API that decides about scarce things.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # they may hold passwords
)
for module in (serving, accounts, demo, catalogue, training, jobs, exports):
    for name, command in module.COMMANDS.items():
        app.command(name)(command)
app.add_typer(jobs.jobs, name="jobs")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
