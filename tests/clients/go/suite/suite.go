// Package suite runs named tests and prints `ok SUITE NAME` or `FAIL SUITE NAME: why` for each.
package suite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
)

// Test is one behaviour.
type Test struct {
	Name string
	Run  func(context.Context) error
}

// Run runs the tests (those named on the command line behind the bootstrap server, or all) and exits.
func Run(name string, tests []Test) {
	failed := 0
	for _, test := range tests {
		if len(os.Args) > 2 && !slices.Contains(os.Args[2:], test.Name) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := test.Run(ctx); err != nil {
			failed++
			fmt.Printf("FAIL %s %s: %.400s\n", name, test.Name, strings.Join(strings.Fields(err.Error()), " "))
		} else {
			fmt.Printf("ok %s %s\n", name, test.Name)
		}
		cancel()
	}
	if failed > 0 {
		os.Exit(1)
	}
}

// Fresh is a topic name that no run has used.
func Fresh(label string) string {
	return fmt.Sprintf("%s-%d-%x", label, os.Getpid(), rand.Int32())
}

// Line is the value of record n: long enough to compress, different for each n.
func Line(n int) string {
	return fmt.Sprintf("%d %s", n, strings.Repeat("ringlog ", 10))
}
