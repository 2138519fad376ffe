//go:build !linux

package main

import "runtime"

func osText() string { return runtime.GOOS + "/" + runtime.GOARCH }

func cpuModel() string { return "unknown" }

func memoryGiB() float64 { return 0 }

func fileSystem(string) string { return "unknown" }
