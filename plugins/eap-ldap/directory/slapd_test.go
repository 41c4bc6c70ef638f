package directory

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a CA and the certificate of one server, gw.example.org at 127.0.0.1.
type authority struct {
	ca   []byte // PEM
	cert []byte
	key  []byte
	pair tls.Certificate
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "directory"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		DNSNames: []string{"dc.example.org"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	a := authority{ca: block("CERTIFICATE", caDER), cert: block("CERTIFICATE", der), key: block("PRIVATE KEY", keyDER)}
	if a.pair, err = tls.X509KeyPair(a.cert, a.key); err != nil {
		t.Fatal(err)
	}
	return a
}

const ldif = `dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: uid=alice,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: A
userPassword: wonderland
businessCategory: cn=crew,ou=groups,dc=example,dc=org

dn: uid=bob\2Cou\3Dgroups,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: bob,ou=groups
cn: Bob
sn: B
userPassword: builder

dn: uid=twin1,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: twin1
uid: twin
cn: Twin
sn: T
userPassword: twin

dn: uid=twin2,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: twin2
uid: twin
cn: Twin
sn: T
userPassword: twin

dn: uid=nopass,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: nopass
cn: Nopass
sn: N

dn: cn=trike,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: trike
userPassword: service

dn: cn=staff,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: staff
member: uid=alice,ou=people,dc=example,dc=org
member: uid=nopass,ou=people,dc=example,dc=org

dn: cn=Domain Admins,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: Domain Admins
member: uid=alice,ou=people,dc=example,dc=org
`

// slapd is a running OpenLDAP server.
type slapd struct {
	ca                []byte
	ldaps, plain, dir string
}

// startSlapd starts Debian's slapd, as a process of this test's own, on two ports of the loopback.
func startSlapd(t *testing.T) slapd {
	t.Helper()
	// Debian puts it where users who are not root have no path to.
	daemon, add := find("slapd"), find("slapadd")
	if daemon == "" || add == "" {
		t.Skip("slapd is not installed: apt install slapd")
	}
	a, dir := newAuthority(t), t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	conf := write("slapd.conf", fmt.Appendf(nil, `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile %[1]s/pid
TLSCACertificateFile %[1]s/ca.pem
TLSCertificateFile %[1]s/cert.pem
TLSCertificateKeyFile %[1]s/key.pem
security simple_bind=128
database mdb
suffix "dc=example,dc=org"
directory %[1]s/db
maxsize 10485760
access to attrs=userPassword by anonymous auth by * none
access to * by users read by * none
`, dir))
	write("ca.pem", a.ca)
	write("cert.pem", a.cert)
	write("key.pem", a.key)
	load := exec.Command(add, "-f", conf, "-l", write("people.ldif", []byte(ldif)))
	if out, err := load.CombinedOutput(); err != nil {
		t.Skipf("slapadd does not run here: %v\n%s", err, out)
	}
	s := slapd{ca: a.ca, ldaps: freePort(t), plain: freePort(t), dir: dir}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, daemon, "-f", conf, "-h", "ldaps://"+s.ldaps+" ldap://"+s.plain, "-d", "0")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Skipf("slapd does not start here: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cancel(); <-ended })
	for _, address := range []string{s.ldaps, s.plain} {
		for {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				_ = conn.Close()
				break
			}
			select {
			case err := <-ended:
				ended <- err
				t.Fatalf("slapd ended: %v\n%s", err, said.String())
			case <-t.Context().Done():
				t.Fatal("slapd does not listen")
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return s
}

func find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	if path := "/usr/sbin/" + name; exec.Command(path, "-VV").Run() == nil {
		return path
	}
	return ""
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return strings.Clone(l.Addr().String())
}
