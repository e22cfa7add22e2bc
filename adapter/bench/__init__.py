"""`chartbridge bench`: the hot paths, each measured beside a probe of the same run. One file an area."""


def run(only: str, seconds: float) -> None:
    """Measure the areas whose name holds `only`, `seconds` for each measurement, and print one table."""
    from adapter.bench import table  # here, or each measured process would load what measures it

    table.run(only, seconds)
