package main

import (
	"strings"
	"testing"
	"time"

	"github.com/trike-ipsec/trike/internal/status"
)

// The status tells of certificates ahead of their end, and of pools before they are empty.
func TestStatusShowsCredentials(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name string
		auth status.Auth
		want []string
	}{
		{"nothing to tell", status.Auth{}, nil},
		{"certificates", status.Auth{Certificates: []status.Certificate{
			{Name: "gw", Subject: "CN=gw.example.org", NotAfter: now.Add(90 * 24 * time.Hour)},
			{Name: "soon", Subject: "CN=soon", NotAfter: now.Add(90 * time.Minute), Problem: "renew it"},
			{Name: "old", Subject: "CN=old", NotAfter: now.Add(-time.Hour)},
			{Name: "raw", Subject: "ed25519 key"}}},
			[]string{"CERTIFICATE", "gw CN=gw.example.org in 90 days", "soon CN=soon in 1h30m0s renew it", "old CN=old ENDED 2026-05-01 11:00:00", "raw ed25519 key never"}},
		{"pools", status.Auth{Pools: []status.Pool{{Name: "staff", Size: 254, Held: 3}}}, []string{"POOL ADDRESSES IN USE", "staff 254 3"}},
		{"plugins", status.Auth{Plugins: []status.Plugin{{Name: "staff", Method: "mschapv2", State: "running"}, {Name: "old", State: "failed", Problem: "exit status 1"}}},
			[]string{"PLUGIN STATE METHOD", "staff running mschapv2", "old failed exit status 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out strings.Builder
			if err := showCredentials(&out, &tc.auth, now); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, line := range strings.Split(out.String(), "\n") {
				if fields := strings.Fields(line); len(fields) > 0 {
					got = append(got, strings.Join(fields, " "))
				}
			}
			for _, want := range tc.want {
				found := false
				for _, line := range got {
					found = found || strings.HasPrefix(line, want)
				}
				if !found {
					t.Errorf("no line %q in\n%s", want, out.String())
				}
			}
			if tc.want == nil && len(got) > 0 {
				t.Errorf("said %q of nothing", got)
			}
		})
	}
}
