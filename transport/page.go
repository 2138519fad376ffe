package transport

import (
	"strconv"
	"strings"

	"metaq/protocol"
)

// pagePlace is the place of an answer of which a page is asked for: the reply subject, which
// has no space, the limit, and what the page comes after.
func pagePlace(reply string, p protocol.Page) string {
	return reply + " " + strconv.Itoa(p.Limit) + " " + p.After
}

func fromPagePlace(place string) (reply string, p protocol.Page) {
	reply, rest, _ := strings.Cut(place, " ")
	limit, after, _ := strings.Cut(rest, " ")
	p.After = after
	p.Limit, _ = strconv.Atoi(limit) // pagePlace wrote it; 0 is as much as fits
	return reply, p
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
