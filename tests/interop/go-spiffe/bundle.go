package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/federation"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// fetchByWeb fetches a bundle by the profile https_web, believing the roots of a file.
func fetchByWeb(ctx context.Context, domain, url, roots string) error {
	trusted, err := spiffeid.TrustDomainFromString(domain)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(roots)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s: no certificate", roots)
	}
	bundle, err := federation.FetchBundle(ctx, trusted, url, federation.WithWebPKIRoots(pool))
	if err != nil {
		return err
	}
	sayBundle(bundle)
	return nil
}

// fetchBySpiffe fetches a bundle by the profile https_spiffe: the endpoint's SVID is verified by a bundle known before.
func fetchBySpiffe(ctx context.Context, domain, url, endpoint, file string) error {
	trusted, err := spiffeid.TrustDomainFromString(domain)
	if err != nil {
		return err
	}
	id, err := spiffeid.FromString(endpoint)
	if err != nil {
		return err
	}
	known, err := spiffebundle.Load(id.TrustDomain(), file)
	if err != nil {
		return err
	}
	bundle, err := federation.FetchBundle(ctx, trusted, url, federation.WithSPIFFEAuth(known, id))
	if err != nil {
		return err
	}
	sayBundle(bundle)
	return nil
}

func sayBundle(bundle *spiffebundle.Bundle) {
	line := map[string]any{
		"trust_domain":     bundle.TrustDomain().Name(),
		"x509_authorities": len(bundle.X509Authorities()),
		"jwt_authorities":  len(bundle.JWTAuthorities()),
	}
	if sequence, ok := bundle.SequenceNumber(); ok {
		line["sequence"] = sequence
	}
	if hint, ok := bundle.RefreshHint(); ok {
		line["refresh_hint"] = hint.Seconds()
	}
	say(line)
}
