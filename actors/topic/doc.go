// Package topic creates, changes and deletes topics, and opens those that other brokers
// create. The topics actor (topics.go) is the parent of all; each topic has an actor
// (topic.go) that claims the epochs of its partitions and is their parent. The topics
// actor publishes the routes by which requests find the partitions.
//
// Start at topics_core.go and topic_core.go.
package topic
