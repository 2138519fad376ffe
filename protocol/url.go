package protocol

import (
	"net/url"
	"strings"
)

// PublicURL returns what a log, an error or a record may say of a NATS URL: scheme, host
// and port. User info is left out whole: a name alone may be a token.
func PublicURL(s string) string {
	u, err := url.Parse(s)
	if err == nil && u.Host != "" {
		return (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
	}
	// It is not a URL, or lacks its scheme: what comes before an @ would be user info.
	scheme, rest, found := strings.Cut(s, "://")
	if !found {
		scheme, rest = "", s
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	if found {
		return scheme + "://" + rest
	}
	return rest
}

// PublicURLs joins what PublicURL makes of several.
func PublicURLs(urls []string) string {
	out := make([]string, len(urls))
	for i, u := range urls {
		out[i] = PublicURL(u)
	}
	return strings.Join(out, ",")
}
