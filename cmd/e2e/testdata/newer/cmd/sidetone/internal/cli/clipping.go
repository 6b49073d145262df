package cli

import (
	"context"
	"encoding/csv"
	"fmt"

	"sidetone/audio"
	"sidetone/audio/device"
	"sidetone/cmd/internal/subcommand"
)

func init() {
	tool.Commands = append(tool.Commands, subcommand.Command{
		Name: "clipping", Args: "A.wav...", About: "how much of each file is clipped, as CSV", Run: clipping,
	})
}

func clipping(_ context.Context, e subcommand.Env, args []string) int {
	out := csv.NewWriter(e.Out)
	defer out.Flush()
	for _, path := range args {
		pcm, err := device.ReadWAV(path)
		if err != nil {
			return tool.Fail(e, subcommand.Failed, err)
		}
		share, longest := audio.Clipping(pcm)
		if err := out.Write([]string{path, fmt.Sprintf("%.4f", share), fmt.Sprint(longest)}); err != nil {
			return tool.Fail(e, subcommand.Failed, err)
		}
	}
	return subcommand.OK
}
