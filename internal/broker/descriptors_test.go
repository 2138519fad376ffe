package broker

import "testing"

// Clients leave descriptors for files, and files leave some for the operator.
func TestDescriptorsAreDivided(t *testing.T) {
	for _, tc := range []struct {
		name                           string
		descriptors, clients, logFiles int
		want                           shares
	}{
		{"few", 90, 65_536, 0, shares{63, 12}},
		{"the usual limit of a shell", 1024, 65_536, 0, shares{716, 276}},
		{"a service", 65_536, 65_536, 0, shares{45_875, 19_629}},
		{"few clients leave more for files", 1024, 100, 0, shares{100, 892}},
		{"fewer files than there could be", 1024, 65_536, 50, shares{716, 50}},
		{"more files than are left", 1024, 65_536, 5000, shares{716, 276}},
		{"next to nothing", 16, 65_536, 1, shares{11, leastLogFiles}},
		{"nobody knows", 0, 65_536, 0, shares{65_536, unknownLogFiles}},
		{"nobody knows, and it is configured", 0, 10, 20, shares{10, 20}},
	} {
		if got := divide(tc.descriptors, tc.clients, tc.logFiles); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
	if n := descriptors(); n < 16 {
		t.Errorf("%d descriptors", n)
	}
}
