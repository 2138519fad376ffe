package configs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Credentials gives the "user:password" of Auth or of AuthFile, "" when neither is set.
// No error repeats what a file holds.
func (a *ZooKeeperAccess) Credentials() (string, error) {
	if a.AuthFile == "" {
		return a.Auth, nil
	}
	text, err := read("zkAuthFile", a.AuthFile)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	auth, err := checkZkAuth(strings.TrimSpace(line))
	if err != nil {
		return "", fmt.Errorf("zkAuthFile: the first line of %s is %w", a.AuthFile, err)
	}
	return auth, nil
}

// TLSConfig reads the files and makes what a dialer needs, nil without TLS.
func (a *ZooKeeperAccess) TLSConfig() (*tls.Config, error) {
	if !a.TLS {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: a.TLSServerName}
	if a.TLSCA != "" {
		text, err := read("zkTlsCa", a.TLSCA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("zkTlsCa: %s holds no certificate in PEM", a.TLSCA)
		}
	}
	if a.TLSCert != "" {
		cert, err := read("zkTlsCert", a.TLSCert)
		if err != nil {
			return nil, err
		}
		key, err := read("zkTlsKey", a.TLSKey)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("zkTlsCert %s with zkTlsKey %s: %w", a.TLSCert, a.TLSKey, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Readable says what is wrong with the files that are named, all at once.
func (a *ZooKeeperAccess) Readable() error {
	_, auth := a.Credentials()
	_, tls := a.TLSConfig()
	return errors.Join(auth, tls)
}

// read reads a file that a key names.
func read(key, path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; check the path and its permissions", key, err)
	}
	return text, nil
}

// check adds a mistake for each two keys that do not go together. keys stands before
// each key of the section.
func (a *ZooKeeperAccess) check(all origins, section, keys string, mistakes *Mistakes) {
	add := func(key, text string) {
		mistakes.add(all[section+"\n"+keys+key], "%s%s %s", keys, key, text)
	}
	if a.Auth != "" && a.AuthFile != "" {
		add("zkAuthFile", "and "+keys+"zkAuth are both set; remove one")
	}
	if (a.TLSCert == "") != (a.TLSKey == "") {
		key, other := "zkTlsCert", "zkTlsKey"
		if a.TLSCert == "" {
			key, other = other, key
		}
		add(key, "needs "+keys+other+"; set both or neither")
	}
	for _, o := range []struct{ key, value string }{
		{"zkTlsCa", a.TLSCA}, {"zkTlsCert", a.TLSCert}, {"zkTlsKey", a.TLSKey}, {"zkTlsServerName", a.TLSServerName},
	} {
		if o.value != "" && !a.TLS {
			add(o.key, "has no effect without "+keys+"zkTls=true; set that, or remove it")
		}
	}
}
