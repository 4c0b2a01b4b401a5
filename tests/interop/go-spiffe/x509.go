package main

import (
	"context"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// fetchOnce asks once and gives up at the first refusal; a source would ask again.
func fetchOnce(ctx context.Context) error {
	svid, err := workloadapi.FetchX509SVID(ctx)
	if err != nil {
		return err
	}
	say(map[string]any{"id": svid.ID.String()})
	return nil
}

// x509States prints each state of the X.509 source that has another leaf, count of them, each verified against the
// source's own bundles.
func x509States(ctx context.Context, count int) error {
	source, err := workloadapi.NewX509Source(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	last := ""
	for seen := 0; seen < count; {
		svid, err := source.GetX509SVID()
		if err != nil {
			return err
		}
		leaf := svid.Certificates[0]
		if serial := leaf.SerialNumber.Text(16); serial != last {
			last = serial
			seen++
			if err := sayState(source, svid); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-source.Updated():
		}
	}
	return nil
}

func sayState(source *workloadapi.X509Source, svid *x509svid.SVID) error {
	id, _, err := x509svid.Verify(svid.Certificates, source)
	if err != nil {
		return err
	}
	bundle, err := source.GetX509BundleForTrustDomain(id.TrustDomain())
	if err != nil {
		return err
	}
	leaf := svid.Certificates[0]
	say(map[string]any{
		"id":          svid.ID.String(),
		"verified":    id.String(),
		"serial":      leaf.SerialNumber.Text(16),
		"not_after":   leaf.NotAfter.UTC().Format(time.RFC3339),
		"authorities": len(bundle.X509Authorities()),
	})
	return nil
}
