package main

import (
	"context"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func fetchToken(ctx context.Context, audience string) error {
	source, err := workloadapi.NewJWTSource(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	token, err := source.FetchJWTSVID(ctx, jwtsvid.Params{Audience: audience})
	if err != nil {
		return err
	}
	sayToken(token, map[string]any{"token": token.Marshal()})
	return nil
}

// verifyToken checks a token here, against the bundles of the JWT source.
func verifyToken(ctx context.Context, token, audience string) error {
	source, err := workloadapi.NewJWTSource(ctx)
	if err != nil {
		return err
	}
	defer source.Close()
	verified, err := jwtsvid.ParseAndValidate(token, source, []string{audience})
	if err != nil {
		return err
	}
	sayToken(verified, map[string]any{})
	return nil
}

// validateToken has the Workload API check a token.
func validateToken(ctx context.Context, token, audience string) error {
	verified, err := workloadapi.ValidateJWTSVID(ctx, token, audience)
	if err != nil {
		return err
	}
	sayToken(verified, map[string]any{})
	return nil
}

func sayToken(token *jwtsvid.SVID, line map[string]any) {
	line["id"] = token.ID.String()
	line["audience"] = token.Audience
	line["expires"] = token.Expiry.UTC().Format(time.RFC3339)
	say(line)
}
