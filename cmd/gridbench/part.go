package main

import (
	"github.com/spf13/cobra"

	"gridrouter.io/bench/compare"
	"gridrouter.io/bench/lab/etcd"
)

// newPartCommand returns "gridbench part": what gridbench starts as its child processes.
func newPartCommand() *cobra.Command {
	config := etcd.Config{LogLevel: "fatal"} // what ends it is its error; the rest would drown the table
	member := &cobra.Command{
		Use:   "etcd",
		Short: "A single etcd member",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return etcd.Serve(cmd.Context(), config) },
	}
	fs := member.Flags()
	fs.StringVar(&config.Dir, "dir", "", "`FOLDER` with the data (required)")
	fs.StringVar(&config.Client, "client", "127.0.0.1:2379", "`ADDR` for clients")
	fs.StringVar(&config.Peer, "peer", "127.0.0.1:2380", "`ADDR` for peers")
	_ = member.MarkFlagRequired("dir") // it fails only for a flag that is not there
	var decks []string
	deck := &cobra.Command{
		Use:   "deck",
		Short: "Decks that answer as fast as they can",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return compare.ServeDecks(cmd.Context(), decks) },
	}
	deck.Flags().StringSliceVar(&decks, "listen", nil, "a deck listens at each `ADDR` (required)")
	_ = deck.MarkFlagRequired("listen") // as above
	part := &cobra.Command{
		Use:    "part",
		Short:  "Run one part of a measurement (gridbench starts these itself)",
		Hidden: true,
	}
	part.AddCommand(member, deck)
	return part
}
