"""ChaCha with 8 rounds, as a source of random numbers: what `probe` draws from.

The stream cipher of Bernstein (64-bit counter and 64-bit stream). The key is filled from a seed of 64
bits by PCG32, as the Rust crate `rand_core` documents for `seed_from_u64`.
"""

import math

import numpy as np

WORD, LONG = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def key_of(seed):
    words, state = [], seed
    for _ in range(8):
        state = (state * 0x5851F42D4C957F2D + 0xA17654E46FBE17F3) & LONG
        shifted = (((state >> 18) ^ state) >> 27) & WORD
        turn = state >> 59
        words.append((shifted >> turn | shifted << (32 - turn)) & WORD)
    return words


class Random:
    def __init__(self, seed, stream=0):
        self.key = key_of(seed & LONG)
        self.stream = [stream & WORD, stream >> 32]
        self.block, self.words = 0, []

    @classmethod
    def of_key(cls, seed, stream):
        """The stream whose key is the seed itself, and zeros."""
        random = cls(0, stream)
        random.key = [seed & WORD, seed >> 32 & WORD] + [0] * 6
        return random

    def _fill(self, blocks=256):
        """The words of the next blocks, computed side by side."""
        counters = np.arange(self.block, self.block + blocks, dtype=np.uint64)
        self.block += blocks
        constants = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
        first = [np.full(blocks, word, np.uint32) for word in constants + self.key]
        first += [(counters & WORD).astype(np.uint32), (counters >> 32).astype(np.uint32)]
        first += [np.full(blocks, word, np.uint32) for word in self.stream]
        x = [word.copy() for word in first]

        def turn(value, by):
            return value << np.uint32(by) | value >> np.uint32(32 - by)

        def quarter(a, b, c, d):
            for target, other, third, by in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                x[target] = x[target] + x[other]
                x[third] = turn(x[third] ^ x[target], by)

        for _ in range(4):
            for column in range(4):
                quarter(column, column + 4, column + 8, column + 12)
            for k in range(4):
                quarter(k, 4 + (k + 1) % 4, 8 + (k + 2) % 4, 12 + (k + 3) % 4)
        out = np.stack([a + b for a, b in zip(x, first)], axis=1).ravel()
        self.words = out.tolist()[::-1]

    def u64(self):
        if not self.words:
            self._fill()
        low = self.words.pop()
        return low | self.words.pop() << 32

    def shuffle(self, items):
        """Fisher and Yates, in place."""
        for last in range(len(items) - 1, 0, -1):
            other = self.u64() % (last + 1)
            items[last], items[other] = items[other], items[last]
        return items

    def normal(self):
        """Box and Muller."""
        uniform = [(self.u64() >> 11) / 2.0**53 for _ in range(2)]
        return math.sqrt(-2 * math.log(1 - uniform[0])) * math.cos(math.tau * uniform[1])
