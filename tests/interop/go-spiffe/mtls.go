package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// serve answers each connection of this one peer with a line that names it, until the process is ended.
func serve(address, peer string) error {
	accepted, err := spiffeid.FromString(peer)
	if err != nil {
		return err
	}
	source, err := workloadapi.NewX509Source(context.Background())
	if err != nil {
		return err
	}
	config := tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeID(accepted))
	listener, err := tls.Listen("tcp", address, config)
	if err != nil {
		return err
	}
	say(map[string]any{"listening": listener.Addr().String()})
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go answer(connection.(*tls.Conn))
	}
}

func answer(connection *tls.Conn) {
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(5 * time.Second))
	if err := connection.Handshake(); err != nil {
		say(map[string]any{"refused": err.Error()})
		return
	}
	id, err := x509svid.IDFromCert(connection.ConnectionState().PeerCertificates[0])
	if err != nil {
		say(map[string]any{"refused": err.Error()})
		return
	}
	if _, err := bufio.NewReader(connection).ReadString('\n'); err == nil {
		fmt.Fprintf(connection, "%s\n", id)
		say(map[string]any{"served": id.String()})
	}
}

// dial connects count times, a second apart, and prints whom it met and whom the server says that it met.
func dial(ctx context.Context, address, peer string, count int) error {
	expected, err := spiffeid.FromString(peer)
	if err != nil {
		return err
	}
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	config := tlsconfig.MTLSClientConfig(source, source, tlsconfig.AuthorizeID(expected))
	for made := range count {
		if made > 0 {
			time.Sleep(time.Second)
		}
		if err := ask(address, config); err != nil {
			return err
		}
	}
	return nil
}

func ask(address string, config *tls.Config) error {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	connection, err := tls.DialWithDialer(dialer, "tcp", address, config)
	if err != nil {
		return err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintln(connection, "who am I"); err != nil {
		return err
	}
	said, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return err
	}
	leaf := connection.ConnectionState().PeerCertificates[0]
	id, err := x509svid.IDFromCert(leaf)
	if err != nil {
		return err
	}
	say(map[string]any{"peer": id.String(), "serial": leaf.SerialNumber.Text(16), "said": strings.TrimSpace(said)})
	return nil
}
