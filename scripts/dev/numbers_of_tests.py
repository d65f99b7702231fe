"""Numbers that tests in Rust repeat."""

import numpy


class Numbers:
    """A linear congruential generator of numbers in [-1, 1)."""

    def __init__(self, seed):
        self.state = seed

    def take(self, count):
        result = numpy.empty(count, numpy.float32)
        for index in range(count):
            self.state = (self.state * 1664525 + 1013904223) % 2**32
            result[index] = (self.state >> 8) / 2**23 - 1
        return result
