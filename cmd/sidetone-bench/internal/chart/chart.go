// Package chart draws a run: when packets came, how long the sound waited, and what had to be made up.
package chart

import (
	"errors"
	"fmt"
	"image/color"
	"path/filepath"
	"time"

	"sidetone/audio/audiotest"
	"sidetone/cmd/sidetone-bench/internal/playout"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	_ "gonum.org/v1/plot/vg/vgsvg" // Save writes it
)

var (
	grey  = color.RGBA{150, 150, 150, 255}
	blue  = color.RGBA{30, 90, 180, 255}
	green = color.RGBA{20, 140, 60, 255}
	red   = color.RGBA{200, 30, 30, 255}
)

// Draw writes an SVG file: over the time of the call, each packet's delay over the fastest's, the delay at which its
// sound was played, the delay that the buffer aimed at, and bars at the bottom where sound was concealed.
func Draw(path, title string, s audiotest.Schedule, r *playout.Result) error {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s: buffer delay %.0f ms, concealed %.2f %%", filepath.Base(title), r.BufferDelay.Mean, 100*r.Concealed)
	p.X.Label.Text = "s"
	p.Y.Label.Text = "ms over the fastest packet"
	p.Y.Min = 0
	p.Legend.Top = true
	p.Add(plotter.NewGrid())

	fastest := time.Duration(-1)
	for _, row := range s {
		if row.Delay >= 0 && (fastest < 0 || row.Delay < fastest) {
			fastest = row.Delay
		}
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	var arrivals, playout, target, concealed plotter.XYs
	for _, row := range s {
		if row.Delay >= 0 {
			arrivals = append(arrivals, plotter.XY{X: (row.Sent - s[0].Sent).Seconds(), Y: ms(row.Delay - fastest)})
		}
	}
	for _, d := range r.Log {
		at := d.At.Seconds()
		switch d.Kind {
		case "decode", "fec":
			playout = append(playout, plotter.XY{X: at, Y: ms(d.Delay)})
			target = append(target, plotter.XY{X: at, Y: ms(d.Target)})
		case "conceal":
			concealed = append(concealed, plotter.XY{X: at, Y: 0})
		}
	}
	points := func(name string, xy plotter.XYs, c color.Color, size vg.Length) {
		if len(xy) > 0 {
			d := dots{xy, draw.LineStyle{Color: c, Width: size}}
			p.Add(d)
			p.Legend.Add(name, d)
		}
	}
	line := func(name string, xy plotter.XYs, c color.Color) error {
		if len(xy) == 0 {
			return nil
		}
		l, err := plotter.NewLine(xy)
		if err != nil {
			return err
		}
		l.Color, l.Width = c, vg.Points(1)
		p.Add(l)
		p.Legend.Add(name, l)
		return nil
	}
	points("arrival", arrivals, grey, vg.Points(1.5))
	if err := errors.Join(line("playout", playout, blue), line("target", target, green)); err != nil {
		return err
	}
	points("concealed", concealed, red, vg.Points(5))
	return p.Save(26*vg.Centimeter, 10*vg.Centimeter, path)
}

// dots draws points in one stroke: plotter.Scatter makes a path of each, and a file ten times as large.
type dots struct {
	plotter.XYs
	style draw.LineStyle // its width is a dot's
}

// Plot implements plot.Plotter.
func (d dots) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	var path vg.Path
	for _, xy := range d.XYs {
		if at := (vg.Point{X: x(xy.X), Y: y(xy.Y)}); c.Contains(at) {
			d.dot(&path, at)
		}
	}
	c.SetLineStyle(d.style)
	c.Stroke(path)
}

// DataRange implements plot.DataRanger.
func (d dots) DataRange() (xmin, xmax, ymin, ymax float64) { return plotter.XYRange(d) }

// Thumbnail implements plot.Thumbnailer.
func (d dots) Thumbnail(c *draw.Canvas) {
	var path vg.Path
	d.dot(&path, c.Center())
	c.SetLineStyle(d.style)
	c.Stroke(path)
}

func (d dots) dot(path *vg.Path, at vg.Point) {
	path.Move(vg.Point{X: at.X - d.style.Width/2, Y: at.Y})
	path.Line(vg.Point{X: at.X + d.style.Width/2, Y: at.Y})
}
