package configs

import (
	"strings"
	"testing"
	"time"
)

func TestDeletePoliciesAreRead(t *testing.T) {
	for text, want := range map[string]DeletePolicy{
		"delete,168":          {ActionDelete, 168 * time.Hour, false},
		"delete,168h":         {ActionDelete, 168 * time.Hour, false},
		"delete,10m":          {ActionDelete, 10 * time.Minute, false},
		"delete,10s":          {ActionDelete, 10 * time.Second, false},
		"delete,7*24":         {ActionDelete, 168 * time.Hour, false},
		"delete,0":            {ActionDelete, 0, false},
		"archive,168":         {ActionArchive, 168 * time.Hour, false},
		"archive,168,true":    {ActionArchive, 168 * time.Hour, true},
		"archive,1h30m,false": {ActionArchive, 90 * time.Minute, false},
		" delete , 168 ":      {ActionDelete, 168 * time.Hour, false},
	} {
		got, err := ParseDeletePolicy(text)
		if err != nil || got != want {
			t.Errorf("%q = %+v, %v; want %+v", text, got, err, want)
		}
		if again, err := ParseDeletePolicy(got.String()); err != nil || again != got {
			t.Errorf("%q prints as %q, which is %+v, %v", text, got, again, err)
		}
	}
}

func TestWrongDeletePoliciesAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "delete,AGE",
		"delete":                "delete,AGE",
		"delete,168,true":       "delete,AGE",
		"archive,168,true,true": "delete,AGE",
		"remove,168":            "delete,AGE",
		"Delete,168":            "delete,AGE",
		"delete,":               "a number of hours",
		"delete,soon":           "a number of hours",
		"delete,-1":             "negative",
		"delete,-1h":            "negative",
		"archive,168,yes":       "true or false",
	} {
		if got, err := ParseDeletePolicy(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q = %+v, %v; want %q", text, got, err, want)
		}
	}
}
