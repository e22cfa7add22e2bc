"""`chartbridge bench`: the hot paths, each measured beside a probe of the same run. One file an area."""


def run(only: str, seconds: float, size: int) -> None:
    """Measure the areas whose name holds `only`, `seconds` for each measurement, and print one table.

    `size`: the resources of the site that the API is asked about.
    """
    from adapter.bench import table  # here, or each measured process would load what measures it

    table.run(only, seconds, size)
