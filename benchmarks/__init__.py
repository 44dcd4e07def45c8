"""How fast openmsi is, next to what the Kafka client and the disk can do.

    python -m benchmarks              # all parts; takes hours
    python -m benchmarks large small  # some of them
    python -m benchmarks --quick      # small sizes, two repeats: does it run?

Contestants of one comparison run alternately, on the same local broker, and their medians are
compared. The results go to benchmarks/results/ as JSON, and as plots if matplotlib is there.
"""
