"""How fast openmsi is, next to what the Kafka client and the disk can do.

    python -m benchmarks                          # all parts; hours
    python -m benchmarks large-send latency       # some of them
    python -m benchmarks --quick                  # small sizes, two repeats: does it run?
    python -m benchmarks.document                 # the results into docs/performance.md

Contestants of one comparison run alternately, on the same local broker, and their medians are
compared. Each part writes its table, all its runs and its plot into docs/performance/.
"""
