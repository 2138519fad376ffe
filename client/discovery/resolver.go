package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"metaq/client"
	"metaq/cluster"
	"metaq/cluster/registry"
	"metaq/cluster/zookeeper"
)

// Options say where the ensemble is.
type Options struct {
	// Connect lists its servers, host:port with commas between them, as zk.zkConnect does;
	// a path at the end is the chroot. They are tried in random order.
	Connect string
	// Root is the cluster's zk.zkRoot. Default /meta.
	Root string
	// Auth is "user:password" of ZooKeeper's digest scheme, as the brokers have it; "" for
	// none. It is not needed where the brokers let everybody read.
	Auth string
	// TLS (optional) is how to speak TLS with the servers.
	TLS *tls.Config
	// Found (optional) is told which server answered, and the brokers' URLs.
	Found func(server string, urls []string)
	// Log (optional) gets a line that says the same.
	Log *slog.Logger
}

// session is the timeout of the short session that a look takes. A third of it is
// there to try all servers once.
const session = 6 * time.Second

// Resolver returns a resolver for client.WithResolver. Its errors name every server
// that was tried and what was wrong with it; they wrap client.ErrNoBroker where trying
// again may help.
func Resolver(o Options) (client.Resolver, error) {
	zk, err := zookeeper.New(zookeeper.Options{
		Connect: o.Connect, SessionTimeout: session, Auth: o.Auth, TLS: o.TLS,
	})
	if err != nil {
		return nil, fmt.Errorf("find brokers through ZooKeeper: %w", err)
	}
	if o.Root == "" {
		o.Root = cluster.DefaultRoot
	}
	return func(ctx context.Context) ([]string, error) { return o.look(ctx, zk) }, nil
}

// look asks the first server that answers.
func (o *Options) look(ctx context.Context, zk *zookeeper.ZooKeeper) (urls []string, err error) {
	reg, err := zk.Open(ctx)
	if err != nil {
		if errors.Is(err, registry.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", client.ErrNoBroker, err)
		}
		return nil, fmt.Errorf("find brokers through ZooKeeper: %w", err)
	}
	defer func() { err = errors.Join(err, reg.Close()) }()
	server := reg.Status().Server
	catalog, err := cluster.NewCatalog(reg, o.Root)
	if err != nil {
		return nil, err
	}
	brokers, err := catalog.Brokers(ctx)
	if err != nil {
		return nil, fmt.Errorf("find brokers through ZooKeeper %s: %w", server, err)
	}
	for _, b := range brokers {
		for url := range strings.SplitSeq(b.NATS, ",") {
			if url != "" {
				urls = append(urls, url)
			}
		}
	}
	if len(urls) == 0 {
		return nil, fmt.Errorf("%w: none is registered below %s in ZooKeeper %s; start one with 'metaq broker', or correct zkRoot",
			client.ErrNoBroker, o.Root, server)
	}
	if o.Log != nil {
		o.Log.Info("brokers found", "zookeeper", server, "brokers", strings.Join(urls, ","))
	}
	if o.Found != nil {
		o.Found(server, urls)
	}
	return urls, nil
}
