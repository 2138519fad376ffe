package main

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// What the peers in Java have in common: Maven fetches their jars, and a small
// program of ours beside each pom.xml serves and drives those that have no tools.

//go:embed kafka rocketmq metaqjava
var javaSources embed.FS

const (
	javaHeap   = "-Xmx1g"
	javaRemark = "heap 1g, page cache as the system gives it"
	javaCache  = ".cache/bench"
)

var (
	kafkaJars    = sync.OnceValues(func() (string, error) { return javaClasses("kafka") })
	rocketJars   = sync.OnceValues(func() (string, error) { return javaClasses("rocketmq") })
	metaqJavaLib = sync.OnceValues(func() (string, error) { return javaClasses("metaqjava") })
)

// javaClasses fetches the jars of a peer and compiles what is beside its pom.xml. It
// returns the class path.
func javaClasses(peer string) (string, error) {
	dir, err := filepath.Abs(filepath.Join(javaCache, peer))
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	files, err := fs.ReadDir(javaSources, peer)
	if err != nil {
		return "", err
	}
	libs, classes := filepath.Join(dir, "libs"), filepath.Join(dir, "classes")
	classPath := filepath.Join(libs, "*") + string(os.PathListSeparator) + classes
	var sources []string
	for _, f := range files {
		text, err := javaSources.ReadFile(peer + "/" + f.Name())
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), text, 0o644); err != nil {
			return "", err
		}
		if strings.HasSuffix(f.Name(), ".java") {
			sources = append(sources, filepath.Join(dir, f.Name()))
		}
	}
	if err := told("mvn", "-q", "-B", "-f", filepath.Join(dir, "pom.xml"), "dependency:copy-dependencies", "-DoutputDirectory="+libs); err != nil {
		return "", err
	}
	if len(sources) == 0 {
		return classPath, nil
	}
	return classPath, told("javac", append([]string{"-nowarn", "-d", classes, "-cp", classPath}, sources...)...)
}

// told runs a program; its error has what the program said.
func told(program string, args ...string) error {
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}

// runJava runs a program in dir, which is its user's home too, and returns its
// output.
func runJava(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "java", append([]string{javaHeap, "-Duser.home=" + dir}, args...)...)
	cmd.Dir = dir
	dieWithParent(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("java %s: %w: %s", strings.Join(args, " "), err, lastOf(string(out)))
	}
	return string(out), nil
}
