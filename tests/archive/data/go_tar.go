// Writes go_tar.tar.gz, a tar as Go's archive/tar makes them: go run go_tar.go | gzip -n9 > go_tar.tar.gz
package main

import (
	"archive/tar"
	"os"
	"strings"
	"time"
)

func main() {
	w := tar.NewWriter(os.Stdout)
	day := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "model/", Mode: 0755},
		{Typeflag: tar.TypeReg, Name: "model/weights.bin", Mode: 0644, Size: 3, Uid: 1000, ModTime: day},
		{Typeflag: tar.TypeReg, Name: strings.Repeat("d/", 60) + "long.bin", Mode: 0755, Size: 3},
		{Typeflag: tar.TypeReg, Name: "été.txt", Mode: 0600, Size: 3, Format: tar.FormatPAX, ModTime: day,
			AccessTime: day, PAXRecords: map[string]string{"SCHILY.xattr.user.x": "\x01\n"}},
		{Typeflag: tar.TypeReg, Name: strings.Repeat("g", 200), Mode: 0644, Size: 3, Format: tar.FormatGNU},
	} {
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte("abc")); err != nil {
				panic(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
}
