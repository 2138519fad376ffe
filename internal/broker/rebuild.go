package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"

	"metaq/actors"
	"metaq/cluster"
	"metaq/cluster/local"
	"metaq/cluster/registry"
	"metaq/internal/vfs"
	"metaq/persistence/store"
)

// A local registry that is lost or damaged is made again from the partitions'
// directories: their names tell topics and partitions, their logs the epochs.
// What was set for a topic at run time is lost with it.

// rebuildName is a mark in the data directory: the registry is being made again.
// While it is there, the registry's list of topics is not the truth, and no
// directory is set aside because of it.
const rebuildName = "registry.rebuild"

// localRegistryName is cluster's file; without it there never was a registry.
const localRegistryName = "registry"

// witnessName is cluster's file with the highest epochs that this broker has seen.
const witnessName = "witness"

// localRegistry opens the local registry. rebuild says that it has to be made
// again with restore.
func localRegistry(d *store.Dirs, log *slog.Logger) (l *local.Store, rebuild bool, err error) {
	if rebuild, err = store.Exists(d.FS, d.FS.PathJoin(d.Main, rebuildName)); err != nil {
		return nil, false, registryDirError(d.Main, err)
	}
	if !rebuild && len(d.Found) > 0 {
		known, err := store.Exists(d.FS, d.FS.PathJoin(d.Main, localRegistryName))
		if err != nil {
			return nil, false, registryDirError(d.Main, err)
		}
		rebuild = !known
	}
	open := func() error {
		if rebuild {
			if err := vfs.Publish(d.FS, d.Main, rebuildName, func(io.Writer) error { return nil }); err != nil {
				return err
			}
		}
		l, err = local.Open(local.Options{FS: d.FS, Dir: d.Main, StartEmpty: rebuild, Log: log})
		return err
	}
	err = open()
	if damaged := (*vfs.DamagedError)(nil); errors.As(err, &damaged) {
		log.Warn("registry is damaged and is made again from the data directories", "dir", d.Main, "kept", damaged.Files)
		rebuild = true
		err = open()
	}
	if err != nil {
		return nil, false, registryDirError(d.Main, err)
	}
	return l, rebuild, nil
}

// restore puts the topics of the data directories into the registry. It may be
// interrupted and repeated.
func restore(ctx context.Context, d *store.Dirs, m *cluster.Member, log *slog.Logger) error {
	topics := d.Topics()
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		err := m.CreateTopic(ctx, cluster.Topic{Name: name, Partitions: topics[name]})
		if errors.Is(err, registry.ErrExists) {
			continue // the generation of the registry before the lost one has it
		}
		if err != nil {
			return fmt.Errorf("make the registry again: %w", err)
		}
		log.Warn("topic is back from its data directories; what was set for it at run time is lost",
			"topic", name, "partitions", topics[name])
	}
	if err := d.FS.Remove(d.FS.PathJoin(d.Main, rebuildName)); err != nil {
		return store.DirError(d.Main, err)
	}
	return store.DirError(d.Main, vfs.SyncDir(d.FS, d.Main))
}

// reenter puts topics back into a ZooKeeper that was set back to a time before them:
// this broker has data of theirs, and nobody has deleted them. What is unknown for
// another reason is left to be set aside, and so is the data of topics that were deleted
// and made again while this broker was away: replaced has their names.
func reenter(ctx context.Context, d *store.Dirs, m *cluster.Member, w *cluster.Witness, log *slog.Logger) (replaced []string, err error) {
	topics := d.Topics()
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		var fate actors.Fate
		err := m.With(ctx, func(r *cluster.Registration) (err error) {
			fate, err = fateOf(ctx, r.Catalog, w, d.Home, name)
			return err
		})
		if errors.Is(err, cluster.ErrRecord) || errors.Is(err, registry.ErrInvalid) {
			log.Error("topic's record in the registry cannot be read, the topic does not serve and its data stays: correct the record", "topic", name, "error", err)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for topic %s in the registry: %w", name, err)
		}
		if fate == actors.FateReplaced {
			log.Warn("topic was deleted and made again while this broker was away, its old messages are set aside", "topic", name)
			replaced = append(replaced, name)
		}
		if fate != actors.FateForgotten {
			continue
		}
		err = m.CreateTopic(ctx, cluster.Topic{Name: name, Partitions: topics[name]})
		if err != nil && !errors.Is(err, registry.ErrExists) {
			return nil, fmt.Errorf("enter topic %s in the registry again: %w", name, err)
		}
		log.Warn("registry has forgotten a topic, it was entered again; what was set for it at run time is lost",
			"topic", name, "partitions", topics[name])
	}
	return replaced, nil
}

// openWitness opens the broker's witness of epochs. One that is damaged starts
// empty: the logs know the epochs of this broker's partitions.
func openWitness(d *store.Dirs, log *slog.Logger) (*cluster.Witness, error) {
	w, err := cluster.OpenWitness(d.FS, d.Main, false)
	if damaged := (*vfs.DamagedError)(nil); errors.As(err, &damaged) {
		log.Warn("witness of epochs is damaged and starts empty", "dir", d.Main, "kept", damaged.Files)
		w, err = cluster.OpenWitness(d.FS, d.Main, true)
	}
	if err == nil && w.Recovery().Previous {
		for _, name := range w.Recovery().SetAside {
			log.Warn("witness of epochs is damaged, the generation before is in use",
				"path", d.FS.PathJoin(d.Main, witnessName), "kept", d.FS.PathJoin(d.Main, name))
		}
	}
	return w, store.DirError(d.Main, err)
}
