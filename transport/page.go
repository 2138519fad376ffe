package transport

import (
	"strconv"
	"strings"

	"metaq/protocol"
)

// pagePlace is the place of an answer of which a page is asked for: the limit, the length of
// what the page comes after, that, and the reply subject.
func pagePlace(reply string, p protocol.Page) string {
	return strconv.Itoa(p.Limit) + " " + strconv.Itoa(len(p.After)) + " " + p.After + reply
}

func fromPagePlace(place string) (reply string, p protocol.Page) {
	limit, rest, _ := strings.Cut(place, " ")
	size, rest, _ := strings.Cut(rest, " ")
	p.Limit, _ = strconv.Atoi(limit) // pagePlace wrote it; 0 is as much as fits
	n, _ := strconv.Atoi(size)
	p.After = rest[:n]
	return rest[n:], p
}

// answerPage sends the page of an actor's answer that was asked for. It is called from any
// goroutine.
func (g *Gateway) answerPage(place string, message any) {
	reply, page := fromPagePlace(place)
	if list, is := message.(protocol.Pages); is {
		cut, err := list.Cut(page, int(g.payload.Load()))
		if message = cut; err != nil {
			message = err
		}
	}
	g.publish(reply, message)
}
