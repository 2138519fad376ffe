package configs

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"metaq/protocol"
)

// checks judge the text of an option by its check tag and give it in its normal form.
var checks = map[string]func(string) (string, error){
	"host":     checkHost,
	"listen":   checkListen,
	"zkserver": checkZkServer,
	"zkauth":   checkZkAuth,
	"zkroot":   checkZkRoot,
	"natsurl":  checkNatsURL,
	"subject":  checkSubject,
	"filter":   checkFilter,
}

func checkHost(text string) (string, error) {
	host := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	if strings.ContainsAny(host, " \t/@[],") || strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return "", fmt.Errorf("%s is not a host; write a name or an address without scheme and port", quote(text))
	}
	return host, nil
}

func checkListen(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err == nil && host != "" {
		host, err = checkHost(host)
	}
	if err != nil || !isPort(port) {
		return "", fmt.Errorf("%s is not host:port; write for example 127.0.0.1:9090", quote(text))
	}
	return net.JoinHostPort(host, port), nil
}

func checkZkServer(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = text, "2181"
	}
	if host, err = checkHost(host); err != nil || host == "" || !isPort(port) || port == "0" {
		return "", fmt.Errorf("%s is not a ZooKeeper server; write host:port,host:port", quote(text))
	}
	return net.JoinHostPort(host, port), nil
}

// splitChroot takes the path off a list of ZooKeeper servers, and puts it into its
// normal form: "" or a path.
func splitChroot(text string) (servers, chroot string, err error) {
	servers, path, found := strings.Cut(text, "/")
	if path = strings.TrimSpace(path); !found || path == "" {
		return servers, "", nil
	}
	if strings.Contains(path, ",") {
		return "", "", fmt.Errorf("%s: the path stands once, after the last server; write host:port,host:port/path", quote(text))
	}
	chroot, err = checkZkRoot(path)
	return servers, chroot, err
}

// checkZkAuth does not repeat the text: it is a secret.
func checkZkAuth(text string) (string, error) {
	user, password, _ := strings.Cut(text, ":")
	if user == "" || password == "" {
		return "", errors.New("not user:password, which is what ZooKeeper's digest scheme wants")
	}
	return text, nil
}

func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}

// checkZkRoot adds the leading slash and removes the trailing one, as MetaQ does.
func checkZkRoot(text string) (string, error) {
	parts := strings.Split(strings.TrimSuffix(strings.TrimPrefix(text, "/"), "/"), "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("%s is not a node; write a path such as /meta", quote(text))
		}
	}
	return "/" + strings.Join(parts, "/"), nil
}

// bareHost matches a host, or a host and a port, without a scheme.
var bareHost = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?$`)

// checkNatsURL returns text with its scheme.
func checkNatsURL(text string) (string, error) {
	// What stands before an @ is not repeated: it may hold a password.
	wrong := fmt.Errorf("%s is not a NATS address; write nats://host:port", quote(text[strings.LastIndex(text, "@")+1:]))
	if bareHost.MatchString(text) { // as `nats -s` takes it
		text = "nats://" + text
	}
	u, err := url.Parse(text)
	if err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Hostname() == "" {
		return "", wrong
	}
	if port := u.Port(); port != "" && (!isPort(port) || port == "0") {
		return "", wrong
	}
	return text, nil
}

// checkFilter judges the form; that no filter reaches into the broker's own
// subjects is judged once their prefix is known.
func checkFilter(text string) (string, error) {
	return text, protocol.Subjects{}.CheckFilter(text)
}

// checkSubject wants names with dots between them, outside NATS's own subjects.
func checkSubject(text string) (string, error) {
	for i, token := range strings.Split(text, ".") {
		if protocol.CheckName("subject", token) != nil || i == 0 && token == "_INBOX" {
			return "", fmt.Errorf("%s is not a subject prefix; use A-Z a-z 0-9 _ - with dots between, such as metaq", quote(text))
		}
	}
	return text, nil
}
