// Checks a log of Sekisho with golang.org/x/mod/sumdb alone: a program that shares nothing with
// what wrote the log. Arguments: the log's folder, the verifier key. Exit status 0: accepted.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: checklog FOLDER VKEY")
		os.Exit(2)
	}
	tree, err := check(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("accepted: %d entries, root %v\n", tree.N, tree.Hash)
}

// check reads the whole log and every tile of it.
func check(folder, vkey string) (tlog.Tree, error) {
	tree, err := checkpoint(folder, vkey)
	if err != nil {
		return tree, err
	}
	hashes, err := entries(folder, tree.N)
	if err != nil {
		return tree, err
	}
	if err := rebuilt(hashes, tree); err != nil {
		return tree, err
	}
	return tree, tiles(folder, tree, hashes)
}

// checkpoint opens the signed note and reads the tree head in it.
func checkpoint(folder, vkey string) (tlog.Tree, error) {
	var tree tlog.Tree
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return tree, err
	}
	bytes, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(bytes, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tree, errors.New("not a checkpoint of this log")
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return tree, errors.New("the root is no hash")
	}
	copy(tree.Hash[:], root)
	return tree, nil
}

// entries reads all bundles and hashes what is in them.
func entries(folder string, size int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, 0, size)
	for first := int64(0); first < size; first += 256 {
		width := min(size-first, 256)
		bytes, err := read(folder, "tile/entries", first/256, int(width))
		if err != nil {
			return nil, err
		}
		for i := int64(0); i < width; i++ {
			if len(bytes) < 2 {
				return nil, fmt.Errorf("the bundle of entry %d ends early", first)
			}
			length := int(binary.BigEndian.Uint16(bytes))
			if len(bytes) < 2+length {
				return nil, fmt.Errorf("entry %d is cut off", first+i)
			}
			hashes = append(hashes, tlog.RecordHash(bytes[2:2+length]))
			bytes = bytes[2+length:]
		}
	}
	return hashes, nil
}

// stored keeps the hashes of a whole tree in memory, as the package numbers them.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, 0, len(indexes))
	for _, index := range indexes {
		if index >= int64(len(s)) {
			return nil, fmt.Errorf("no hash %d", index)
		}
		found = append(found, s[index])
	}
	return found, nil
}

// rebuilt computes the root from the entries.
func rebuilt(hashes []tlog.Hash, tree tlog.Tree) error {
	var all stored
	for n, hash := range hashes {
		more, err := tlog.StoredHashesForRecordHash(int64(n), hash, all)
		if err != nil {
			return err
		}
		all = append(all, more...)
	}
	root, err := tlog.TreeHash(tree.N, all)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("the entries give the root %v, the checkpoint says %v", root, tree.Hash)
	}
	return nil
}

// onDisk reads tiles of the log.
type onDisk struct{ folder string }

func (d onDisk) Height() int                     { return height }
func (d onDisk) SaveTiles([]tlog.Tile, [][]byte) {}
func (d onDisk) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	found := make([][]byte, 0, len(tiles))
	for _, tile := range tiles {
		bytes, err := read(d.folder, fmt.Sprintf("tile/%d", tile.L), tile.N, tile.W)
		if err != nil {
			return nil, err
		}
		if len(bytes) < tile.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %v is cut off", tile)
		}
		found = append(found, bytes[:tile.W*tlog.HashSize])
	}
	return found, nil
}

// tiles checks each leaf hash through the tiles, proofs of entries, and proofs between sizes.
func tiles(folder string, tree tlog.Tree, hashes []tlog.Hash) error {
	reader := tlog.TileHashReader(tree, onDisk{folder})
	for n := int64(0); n < tree.N; n += 4096 {
		var indexes []int64
		for i := n; i < min(n+4096, tree.N); i++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, i))
		}
		found, err := reader.ReadHashes(indexes)
		if err != nil {
			return err
		}
		for i, hash := range found {
			if hash != hashes[n+int64(i)] {
				return fmt.Errorf("the tiles have another hash for entry %d", n+int64(i))
			}
		}
	}
	for n := int64(0); n < tree.N; n += tree.N/97 + 1 {
		proof, err := tlog.ProveRecord(tree.N, n, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, n, hashes[n]); err != nil {
			return fmt.Errorf("entry %d: %v", n, err)
		}
	}
	for old := int64(1); old <= tree.N; old += tree.N/31 + 1 {
		past, err := tlog.TreeHash(old, reader)
		if err != nil {
			return err
		}
		proof, err := tlog.ProveTree(tree.N, old, reader)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old, past); err != nil {
			return fmt.Errorf("size %d: %v", old, err)
		}
	}
	return nil
}

// read gives a tile or bundle; where the partial one is gone, the full one (tlog-tiles).
func read(folder, kind string, n int64, width int) ([]byte, error) {
	name := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		name = fmt.Sprintf("x%03d/%s", n%1000, name)
	}
	full := filepath.Join(folder, kind, name)
	if width < 256 {
		bytes, err := os.ReadFile(full + fmt.Sprintf(".p/%d", width))
		if err == nil || !os.IsNotExist(err) {
			return bytes, err
		}
	}
	return os.ReadFile(full)
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}
