"""Checks roots and proofs of a log of Sekisho with pymerkle alone.

Arguments: a file of entries (each behind its length, 4 bytes big-endian), and a file of lines
`SIZE ROOT` (hexadecimal). Exit status 0: all roots and proofs are those of pymerkle.
"""

import sys

from pymerkle import InmemoryTree, verify_consistency, verify_inclusion


def entries(path):
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 4 + length]
        at += 4 + length


def main():
    tree = InmemoryTree(algorithm="sha256")
    for entry in entries(sys.argv[1]):
        tree.append_entry(entry)
    with open(sys.argv[2]) as file:
        heads = [line.split() for line in file]
    before = None
    for size, root in heads:
        size, root = int(size), bytes.fromhex(root)
        if tree.get_state(size) != root:
            sys.exit(f"size {size}: pymerkle has another root")
        leaf = tree.get_leaf(size)
        verify_inclusion(leaf, root, tree.prove_inclusion(size, size))
        if before:
            proof = tree.prove_consistency(before[0], size)
            verify_consistency(before[1], root, proof)
        before = (size, root)
    print(f"accepted: {len(heads)} heads")


main()
