package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-zookeeper/zk"

	"metaq/cluster/registry"
)

// auditDepth is how far below the root the nodes are looked at: this covers those that
// are always there, not what each topic and group adds.
const auditDepth = 2

// accessList is who may do what with the nodes that we make.
func (o *Options) accessList() ([]zk.ACL, error) {
	if o.Auth == "" {
		return zk.WorldACL(zk.PermAll), nil
	}
	user, password, ok := strings.Cut(o.Auth, ":")
	if !ok || user == "" {
		return nil, fmt.Errorf("%w: authentication must be user:password", registry.ErrInvalid)
	}
	acl := zk.DigestACL(zk.PermAll, user, password)
	if o.WorldRead {
		acl = append(acl, zk.WorldACL(zk.PermRead)...)
	}
	return acl, nil
}

// audit looks whether the nodes that are there already are ours, and ours alone. A
// password would protect nothing below a node that everybody may change.
func (s *zkSession) audit(ctx context.Context, path string, depth int) error {
	acl, err := zkCall(ctx, s, false, func() ([]zk.ACL, error) {
		acl, _, err := s.conn.GetACL(path)
		return acl, err
	})
	if err == nil {
		err = s.judge(path, acl)
	}
	switch {
	case errors.Is(err, registry.ErrNotFound): // we shall make it
		return nil
	case err != nil:
		return fmt.Errorf("permissions of %s: %w", path, err)
	case depth == 0:
		return nil
	}
	names, err := zkCall(ctx, s, false, func() ([]string, error) {
		names, _, err := s.conn.Children(path)
		return names, err
	})
	if errors.Is(err, registry.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	for _, name := range names {
		if err := s.audit(ctx, path+"/"+name, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// judge says what is wrong with a node's ACL.
func (s *zkSession) judge(path string, acl []zk.ACL) error {
	mine := false
	for _, entry := range acl {
		if entry.Scheme == s.acl[0].Scheme && entry.ID == s.acl[0].ID && entry.Perms == zk.PermAll {
			mine = true
		}
		if entry.Scheme == "world" && entry.Perms&^zk.PermRead != 0 {
			return fmt.Errorf("%w: with zkAuth set, give it to that user in zkCli.sh (addauth digest USER:PASSWORD, then setAcl -R %s auth::cdrwa), or choose another zk.zkRoot",
				registry.ErrOpenToAll, path)
		}
	}
	if !mine {
		return registry.ErrDenied
	}
	return nil
}
