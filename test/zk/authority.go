package zktest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates for 127.0.0.1, all in PEM files.
type Authority struct {
	CA   string // the authority's own certificate
	Cert string // a certificate that it has signed
	Key  string // its key
	Both string // that key and certificate in one file, as ZooKeeper wants them
}

// NewAuthority makes an authority and one certificate. Its files live as long as the test.
func NewAuthority(t testing.TB) Authority {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		t.Helper()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		if signer == nil {
			signer = key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
		must(err)
		return der, key
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "MetaQ's test authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca, caKey := issue(authority, authority, nil)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "metaq-test"},
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"zookeeper.test"},
	}
	cert, key := issue(leaf, authority, caKey)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)

	dir := t.TempDir()
	file := func(name string, blocks ...pem.Block) string {
		var text bytes.Buffer
		for _, b := range blocks {
			must(pem.Encode(&text, &b))
		}
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, text.Bytes(), 0o600))
		return path
	}
	certificate, private := pem.Block{Type: "CERTIFICATE", Bytes: cert}, pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}
	return Authority{
		CA:   file("ca.pem", pem.Block{Type: "CERTIFICATE", Bytes: ca}),
		Cert: file("cert.pem", certificate),
		Key:  file("key.pem", private),
		Both: file("both.pem", private, certificate),
	}
}
