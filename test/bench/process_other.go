//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"time"
)

var errNoProc = errors.New("can only be had from Linux")

// dieWithParent can only be had from Linux.
func dieWithParent(*exec.Cmd) {}

func peakRSS(int) (int64, error) { return 0, errNoProc }

func cpuTime(int) (time.Duration, error) { return 0, errNoProc }
