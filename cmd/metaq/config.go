package main

import (
	"os"

	"github.com/spf13/cobra"

	"metaq/configs"
)

func newConfig() *cobra.Command {
	return noun(&cobra.Command{
		Use:     "config",
		Short:   "check and show configuration files",
		Example: `  metaq config check server.ini`,
	}, newConfigCheck(), newConfigShow())
}

// loadFile reads a broker's or a client's file as the program would that uses
// it, and gives every effective value and every notice.
func loadFile(path string) (values []configs.Value, notices []string, err error) {
	opts := configs.LoadOptions{Path: path, Env: os.Environ()}
	isClient, err := configs.IsClientFile(path)
	if err != nil {
		return nil, nil, err
	}
	if isClient {
		client, err := configs.LoadClient(opts)
		if err != nil {
			return nil, nil, err
		}
		return client.Effective(), client.Notices(), client.Readable()
	}
	server, err := configs.Load(opts)
	if err != nil {
		return nil, nil, err
	}
	if server.UseZooKeeper() {
		err = server.ZooKeeper.Readable()
	}
	return server.Effective(), server.Notices(), err
}
