package protocol

import "testing"

func TestAFaultInARequestIsToldInWordsOfJSON(t *testing.T) {
	tests := []struct{ body, want string }{
		{`{"member":5}`, "field member is a number, use a string"},
		{`{"session_ms":"x"}`, "field session_ms is a string, use a whole number in range"},
		{`{"session_ms":1.5}`, "field session_ms is a number, use a whole number in range"},
		{`{"topics":"orders"}`, "field topics is a string, use an array"},
		{`{"topics":[7]}`, "field topics is a number, use a string"},
		{`{"start":[]}`, "field start is an array, use an object"},
		{`[]`, "it is an array, use an object"},
		{`{"nope":1}`, `json: unknown field "nope"`},
	}
	for _, test := range tests {
		var r GroupJoin
		err := DecodeRequest([]byte(test.body), &r)
		if want := "request is not the JSON expected here: " + test.want + " (400)"; err == nil || err.Error() != want {
			t.Errorf("%s gives %v, want %s", test.body, err, want)
		}
	}
}
