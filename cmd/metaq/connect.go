package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"metaq/client"
	"metaq/client/discovery"
	"metaq/client/messagedir"
	"metaq/configs"
	"metaq/internal/cli"
	"metaq/protocol"
)

// target is the broker that a command talks to.
type target struct {
	server    string
	zookeeper string
	config    string
	verbose   bool
	remarks   func() io.Writer // where progress and notes go
	noted     bool             // the notes of the configuration are told
}

// note tells, once, what was set and has no effect.
func (t *target) note(notices []string) {
	if t.noted {
		return
	}
	t.noted = true
	for _, n := range notices {
		_, _ = fmt.Fprintf(t.remarks(), "metaq: note: %s\n", n) // as with every remark
	}
}

// targetFlags adds --server and --config to a command that talks to a broker.
func targetFlags(cmd *cobra.Command, t *target) {
	cmd.Flags().StringVar(&t.server, "server", "", "the broker's `URL`, several with commas between (default METAQ_SERVER, else "+configs.DefaultServer+")")
	cmd.Flags().StringVar(&t.zookeeper, "zookeeper", "", "find the brokers through any of these ZooKeeper servers, `HOST:PORT,...` (default METAQ_ZOOKEEPER)")
	cmd.Flags().BoolVarP(&t.verbose, "verbose", "v", false, "print which ZooKeeper server answered")
	t.remarks = cmd.ErrOrStderr
	cmd.Flags().StringVar(&t.config, "config", "", "read a client's metaq.ini from `FILE` (default METAQ_CONFIG)")
}

// connect connects as flags, METAQ_ variables and metaq.ini say. The caller
// closes the client.
func (t *target) connect(ctx context.Context, opts ...client.Option) (*client.Client, error) {
	flags := map[string]string{}
	if t.server != "" {
		flags["server"] = t.server
	}
	if t.zookeeper != "" {
		flags["zookeeper"] = t.zookeeper
	}
	path := cmp.Or(t.config, os.Getenv("METAQ_CONFIG"))
	c, err := configs.LoadClient(configs.LoadOptions{Path: path, Env: os.Environ(), Flags: flags})
	if err != nil {
		return nil, misconfigured(err)
	}
	t.note(c.Notices())
	entrance := client.WithServers(c.Server...)
	if len(c.ZooKeeper) > 0 {
		find, err := t.resolver(c)
		if err != nil {
			return nil, err
		}
		entrance = client.WithResolver(find)
	}
	opts = append([]client.Option{entrance, client.WithPrefix(c.Prefix)}, opts...)
	if c.MessageDir != "" {
		opts = append(opts, client.WithMessageDir(messagedir.New(c.MessageDir)))
	}
	return client.Connect(ctx, opts...)
}

// resolver finds the brokers through ZooKeeper.
func (t *target) resolver(c *configs.Client) (client.Resolver, error) {
	auth, err := c.Credentials()
	if err != nil {
		return nil, err
	}
	secure, err := c.TLSConfig()
	if err != nil {
		return nil, err
	}
	return discovery.Resolver(discovery.Options{
		Connect: strings.Join(c.ZooKeeper, ","), Root: c.ZkRoot, Auth: auth, TLS: secure, Found: t.found,
	})
}

// misconfigured marks mistakes in nothing but flags and variables as wrong usage.
// Those in a file are a problem that the command has met.
func misconfigured(err error) error {
	var mistakes configs.Mistakes
	if errors.As(err, &mistakes) && mistakes.OnCommandLine() {
		return cli.Usage(err)
	}
	return err
}

// found prints which ZooKeeper server has answered, with --verbose.
func (t *target) found(server string, urls []string) {
	if t.verbose {
		// What cannot be said does not matter to the command.
		_, _ = fmt.Fprintf(t.remarks(), "ZooKeeper %s answered: brokers at %s\n", server, strings.Join(urls, ", "))
	}
}

// withAdmin connects and calls work with the administration calls.
func (t *target) withAdmin(ctx context.Context, work func(*client.Admin) error) error {
	c, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return work(c.Admin())
}

// topicArg refuses a name that no topic can have before anything is connected.
func topicArg(name string) error { return cli.Usage(protocol.CheckName("topic", name)) }

// adviseTopic adds to the refusal of a topic that is not there how to find those
// that are, unless the broker has said so.
func adviseTopic(err error) error {
	if err != nil && strings.Contains(err.Error(), "metaq topic ls") {
		return err
	}
	return cli.Advise(err, client.ErrNoTopic, "`metaq topic ls` lists the topics")
}

// partitionFlag reads the value of --partition; "" is none.
func partitionFlag(text string) (*protocol.PartitionID, error) {
	if text == "" {
		return nil, nil
	}
	p, err := protocol.ParsePartitionID(text)
	return &p, err
}

// interrupted says in one word that a signal ended the work, where that is so.
func interrupted(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return err
}
