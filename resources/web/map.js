/* The map page. folium makes the Leaflet map and hands it to NadirMap.start; from then on the program sends small
 * JSON messages over QWebChannel and the page changes what it draws, never itself.
 *
 * Program -> page, one object or a list of them:
 *   theme    {colours: {token: css}, dark, font: css font family, size: px, ramp: [[r, g, b, a] x 256], motion: bool}
 *   words    {words: {name: text}}: the page's own texts, translated
 *   area     {area: {name, token | null, bounds: [[south, west], [north, east]], native_zoom, attribution, places,
 *            places_label}} east >= west, may pass 180; token: null: no imagery; places: [at, ...] of photos, drawn as dots.
 *            area: null clears the map.
 *   result   {candidates: [{rank, at, square: [4 corners] | null, towards, heading, fov, label}], own: {at, label} | null,
 *            circle: {outline: [at, ...], label} | null,
 *            posterior: {dots: [[lat, lon, 0..1]], label, ends: [low, ..., high]} | null}
 *   select   {rank | null, fly}
 *   heat     {url | null, bounds, label, ends}
 *   opacity  {value 0..1}
 *   home     {}
 *   outlines {rings: [[at, ...], ...], label}: ground that is covered, by the even-odd rule
 *   areas    {polygons: [[at, ...], ...], label, tool: "box" | "polygon" | null}: the area chosen, and how to draw it
 *   view     {}: take what is in view as if it had been drawn
 * Any of them may carry `serial`; the page answers {type: "drawn", serial} once it is on the screen.
 * Page -> program: ready, drawn {serial}, candidate {rank}, cursor {lat, lon}, opacity {value}, moved {lat, lon, zoom},
 * area {ring: [at, ...]} that was drawn.
 */
var NadirMap = (function () {
  "use strict";

  var HOME = // the program's own icon "fit"
    "M4 9V5.5A1.5 1.5 0 0 1 5.5 4H9M15 4h3.5A1.5 1.5 0 0 1 20 5.5V9M20 15v3.5a1.5 1.5 0 0 1-1.5 1.5H15M9 20H5.5A1.5 1.5 0 0 1 4 18.5V15";

  var map, camera, draw, post, readout, attribution, legend;
  var words = {};
  var ramp = function () { return "transparent"; };
  var rampCss = "";
  var area = null;
  var result = null;
  var selected = null;
  var heat = null;
  var opacity = 0.7;
  var clicked = null; // a rank chosen on the map itself: the view stays where the user looks
  var imagery, places, posterior, heatOverlay, shapes, pins, own, wedgeShapes;

  /* ---- positions ---- */

  /** The copy of a longitude that lies nearest to the area, so that the 180th meridian is no edge. */
  function near(at) {
    var middle = area ? (area.bounds[0][1] + area.bounds[1][1]) / 2 : 0;
    var lon = at[1] - middle;
    return L.latLng(at[0], middle + lon - 360 * Math.round(lon / 360));
  }

  function squareOf(candidate) {
    return candidate.square && candidate.square.map(near);
  }

  function candidateOf(rank) {
    return result && result.candidates.filter(function (c) { return c.rank === rank; })[0];
  }

  /* ---- drawing ---- */

  function clear(layer) {
    if (layer) layer.remove();
    return null;
  }

  function drawArea() {
    imagery = clear(imagery);
    places = clear(places);
    attribution.show(area ? area.attribution : "");
    if (!area) return;
    camera.show(area.bounds, area.native_zoom);
    if (area.places.length) {
      var spots = area.places.map(near).map(function (at) { return [at.lat, at.lng]; });
      places = new NadirLayers.Places(spots, { pane: "posterior", maxZoom: 30 }).addTo(map);
    }
    if (!area.token) return;
    imagery = new NadirLayers.Imagery("imagery/" + area.token + "/{z}/{x}/{y}{r}", {
      bounds: L.latLngBounds(area.bounds), noWrap: true, maxNativeZoom: area.native_zoom, maxZoom: 30, keepBuffer: 1, className: "imagery",
    }).addTo(map);
  }

  function drawResult() {
    posterior = clear(posterior);
    own = clear(own);
    if (result && result.posterior) {
      var dots = result.posterior.dots.map(function (dot) { var at = near(dot); return [at.lat, at.lng, dot[2]]; });
      posterior = new NadirLayers.Posterior(dots, ramp, { pane: "posterior", maxZoom: 30 }).addTo(map);
    }
    if (result && result.own) {
      own = L.marker(near(result.own.at), {
        icon: NadirLayers.ownMark(), keyboard: false, pane: "own", alt: result.own.label,
      }).bindTooltip(result.own.label, { direction: "top", offset: [0, -10] }).addTo(map);
    }
    drawCandidates();
  }

  /** Footprints, circles and wedge: again whenever the zoom, the result or the selection changes. */
  function drawCandidates() {
    shapes.clearLayers();
    pins.clearLayers();
    wedgeShapes.clearLayers();
    if (!result) return;
    if (result.circle) {
      new NadirLayers.Smooth(result.circle.outline.map(near), {
        className: "within", fill: false, interactive: false, smoothFactor: 0,
      }).addTo(shapes);
    }
    // The first are drawn last, the selected one last of all: they lie on top.
    var order = result.candidates.slice().sort(function (a, b) {
      return (a.rank === selected) - (b.rank === selected) || b.rank - a.rank;
    });
    order.forEach(function (candidate) {
      var chosen = candidate.rank === selected;
      if (!candidate.square) return; // a photo covers no ground that is known
      ["casing", "outline"].forEach(function (part) {
        L.polygon(squareOf(candidate), {
          className: "footprint " + part + (chosen ? " selected" : ""), fill: false, interactive: false,
        }).addTo(shapes);
      });
    });
    drawPins();
    drawWedge(candidateOf(selected));
    drawTowards(candidateOf(selected));
  }

  /** Circles that would lie on one another move apart, the first ranks least; selecting moves none of them. */
  function drawPins() {
    var first = result.candidates;
    var spots = first.map(function (candidate) { return map.project(near(candidate.at)); });
    NadirLayers.apart(spots, NadirLayers.CIRCLE + 2).forEach(function (spot, i) {
      var candidate = first[i];
      var at = near(candidate.at);
      var shown = map.unproject(spot);
      if (spot.distanceTo(spots[i]) > 3) {
        L.polyline([at, shown], { className: "leader", interactive: false }).addTo(shapes);
      }
      var pin = L.marker(shown, {
        icon: NadirLayers.circle(candidate.rank, candidate.rank === selected),
        zIndexOffset: candidate.rank === selected ? 100000 : (first.length - i) * 1000, alt: candidate.label, riseOnHover: true,
      });
      pin.bindTooltip(candidate.label, { direction: "top", offset: [0, -14] });
      pin.on("click", function (event) {
        L.DomEvent.stop(event.originalEvent);
        choose(candidate.rank);
      });
      pin.addTo(pins);
      var element = pin.getElement();
      element.setAttribute("aria-label", candidate.label);
      element.setAttribute("aria-pressed", String(candidate.rank === selected));
      element.dataset.rank = candidate.rank;
    });
  }

  function drawWedge(candidate) {
    if (!candidate || candidate.heading === null) return;
    var radius = heightOf(candidate) / 2;
    var whole = candidate.fov >= 359;
    var shape = NadirLayers.wedge(map, near(candidate.at), candidate.heading, candidate.fov, radius);
    ["casing", "outline"].forEach(function (part) {
      new NadirLayers.Smooth(shape.outline, {
        className: "wedge " + part + (whole ? " whole" : ""), interactive: false, smoothFactor: 0,
        fill: part === "outline" && !whole,
      }).addTo(wedgeShapes);
      L.polyline(shape.needle, { className: "needle " + part, interactive: false }).addTo(wedgeShapes);
    });
  }

  /** Where the matched photo looked; it says nothing of the photo that was asked about, so it is no wedge. */
  function drawTowards(candidate) {
    if (!candidate || candidate.towards === null) return;
    var shape = NadirLayers.wedge(map, near(candidate.at), candidate.towards, 1, 0);
    ["casing", "outline"].forEach(function (part) {
      L.polyline(shape.needle, { className: "towards " + part, interactive: false }).addTo(wedgeShapes);
    });
  }

  function drawHeat() {
    heatOverlay = clear(heatOverlay);
    // Both wear the one ramp: what is looked at closely comes first.
    map.getPane("posterior").style.opacity = heat && heat.url ? 0.4 : 1;
    if (!heat || !heat.url) return;
    var bounds = L.latLngBounds(heat.bounds.map(near));
    heatOverlay = L.imageOverlay(heat.url, bounds, { pane: "heat", opacity: opacity, className: "heat" }).addTo(map);
  }

  function drawLegend() {
    var rows = draw.rows();
    if (area && area.places.length) rows.push({ mark: "mark-place", text: area.places_label });
    if (result && result.candidates.length) {
      rows.push({ mark: "mark-rank", text: words.ranks });
      if (result.candidates[0].square) rows.push({ mark: "mark-square", text: words.footprint });
      var chosen = candidateOf(selected);
      if (chosen && chosen.towards !== null) rows.push({ mark: "mark-towards", text: words.towards });
      if (chosen && chosen.heading !== null) {
        rows.push({ mark: chosen.fov >= 359 ? "mark-ring" : "mark-wedge",
                    text: chosen.fov >= 359 ? words.ring : words.wedge });
      }
    }
    if (result && result.circle) rows.push({ mark: "mark-within", text: result.circle.label });
    if (result && result.own) rows.push({ mark: "mark-own", text: result.own.label });
    if (result && result.posterior) {
      rows.push({ text: result.posterior.label, ramp: rampCss, ends: result.posterior.ends });
    }
    if (heat && heat.url) {
      rows.push({ text: heat.label, ramp: rampCss, ends: heat.ends, slider: { value: opacity, changed: slide } });
    }
    legend.show(rows);
  }

  /* ---- what the user does ---- */

  function choose(rank) {
    clicked = rank;
    select(rank, false);
    post({ type: "candidate", rank: rank });
  }

  function select(rank, fly) {
    if (rank !== selected) {
      // The circle that had the keyboard keeps it, though it is drawn anew.
      var held = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.rank : undefined;
      selected = rank;
      drawCandidates();
      drawLegend();
      if (held !== undefined) {
        var again = document.querySelector('.rank[data-rank="' + Number(held) + '"]');
        if (again) again.focus({ preventScroll: true });
      }
    }
    var candidate = candidateOf(rank);
    // A photo is a point: where it is in view already, nothing need move.
    if (candidate && !candidate.square && map.getBounds().pad(-0.05).contains(near(candidate.at))) fly = false;
    if (fly && candidate) camera.fly(near(candidate.at), heightOf(candidate));
  }

  /** px of a candidate's tile at this zoom; of a photo, so much that the zoom stays as it is. */
  function heightOf(candidate) {
    var square = squareOf(candidate);
    if (!square) return Math.min(map.getSize().x, map.getSize().y) / 2;
    return Math.abs(map.project(square[0]).y - map.project(square[2]).y);
  }

  /** A click in overlapping footprints means the one whose middle is nearest. */
  function candidateAt(latlng) {
    var best = null;
    var least = Infinity;
    (result ? result.candidates : []).forEach(function (candidate) {
      if (!candidate.square) return;
      var bounds = L.latLngBounds(squareOf(candidate));
      if (!bounds.contains(latlng)) return;
      var distance = map.project(bounds.getCenter()).distanceTo(map.project(latlng));
      if (distance < least) {
        least = distance;
        best = candidate;
      }
    });
    return best;
  }

  function slide(value) {
    setOpacity(value);
    post({ type: "opacity", value: value });
  }

  function setOpacity(value) {
    opacity = value;
    if (heatOverlay) heatOverlay.setOpacity(value);
    if (legend.opacityInput && document.activeElement !== legend.opacityInput) {
      legend.opacityInput.value = Math.round(value * 100);
    }
  }

  function listen() {
    var pending = null;
    map.on("mousemove", function (event) {
      var at = event.latlng.wrap();
      map.getContainer().style.cursor = !draw.active() && candidateAt(event.latlng) ? "pointer" : "";
      if (!pending) {
        window.requestAnimationFrame(function () {
          readout.show(pending.lat, pending.lng);
          post({ type: "cursor", lat: pending.lat, lon: pending.lng });
          pending = null;
        });
      }
      pending = at;
    });
    map.on("click", function (event) {
      var candidate = candidateAt(event.latlng);
      if (candidate) choose(candidate.rank);
    });
    map.on("zoomend", function () {
      var between = map.getZoom() % 1 !== 0;
      L.DomUtil[between ? "addClass" : "removeClass"](map.getContainer(), "between");
      drawCandidates();
    });
    map.on("moveend", function () {
      var at = map.getCenter().wrap();
      post({ type: "moved", lat: at.lat, lon: at.lng, zoom: map.getZoom() });
    });
    map.getContainer().addEventListener("keydown", function (event) {
      if (event.key === "Home") camera.home(true);
      else if (draw.key(event)) { /* the area being drawn */ }
      else if (event.key === "Enter" || event.key === " ") {
        var rank = event.target.dataset ? event.target.dataset.rank : undefined;
        if (rank === undefined) return;
        choose(Number(rank));
      } else return;
      event.preventDefault();
      event.stopPropagation();
    }, true);
    window.addEventListener("wheel", function (event) { if (event.ctrlKey) event.preventDefault(); }, { passive: false });
  }

  /* ---- messages ---- */

  var handlers = {
    theme: function (message) {
      var style = document.documentElement.style;
      Object.keys(message.colours).forEach(function (name) {
        style.setProperty("--" + name.replace(/_/g, "-"), message.colours[name]);
      });
      style.setProperty("--font", message.font);
      style.setProperty("--size", message.size + "px");
      style.colorScheme = message.dark ? "dark" : "light";
      camera.motion = message.motion;
      ramp = NadirLayers.rampOf(message.ramp);
      rampCss = "linear-gradient(to right," + message.ramp.filter(function (_, i) { return i % 15 === 0; }).map(function (c) {
        return "rgba(" + c[0] + "," + c[1] + "," + c[2] + "," + c[3] / 255 + ")";
      }).join(",") + ")";
      drawLegend();
    },
    words: function (message) {
      words = message.words;
      legend.name(words.legend, words.opacity);
      map.getContainer().setAttribute("aria-label", words.map);
      readout.getContainer().setAttribute("aria-label", words.cursor);
      var buttons = map.getContainer().querySelectorAll(".leaflet-bar a");
      [words.zoom_in, words.zoom_out, words.home].forEach(function (text, i) {
        buttons[i].title = text;
        buttons[i].setAttribute("aria-label", text);
      });
      drawLegend();
    },
    area: function (message) {
      area = message.area;
      result = heat = selected = null;
      drawArea();
      draw.outlines({ rings: [], label: "" });
      draw.areas({ polygons: [], label: "", tool: null });
      drawHeat();
      drawResult();
      drawLegend();
    },
    result: function (message) {
      result = message.result;
      selected = clicked = null;
      drawResult();
      drawLegend();
    },
    select: function (message) {
      var fly = message.fly && message.rank !== clicked;
      clicked = null;
      select(message.rank, fly);
    },
    heat: function (message) {
      heat = message.url ? message : null;
      drawHeat();
      drawLegend();
    },
    opacity: function (message) { setOpacity(message.value); },
    home: function () { camera.home(true); },
    outlines: function (message) { draw.outlines(message); drawLegend(); },
    areas: function (message) { draw.areas(message); drawLegend(); },
    view: function () { draw.view(); },
  };

  function receive(text) {
    var messages = JSON.parse(text);
    var serials = [];
    (Array.isArray(messages) ? messages : [messages]).forEach(function (message) {
      handlers[message.type](message);
      if (message.serial !== undefined) serials.push(message.serial);
    });
    // Two frames on, what was changed in this one has been painted.
    window.requestAnimationFrame(function () {
      window.requestAnimationFrame(function () {
        serials.forEach(function (serial) { post({ type: "drawn", serial: serial }); });
      });
    });
  }

  function start(made) {
    map = made;
    camera = new NadirCamera(map);
    document.documentElement.lang = "en";
    map.getContainer().setAttribute("role", "application");
    [["posterior", 350], ["heat", 360], ["own", 590]].forEach(function (pane) {
      map.createPane(pane[0]).style.zIndex = pane[1];
    });
    map.getPane("posterior").style.pointerEvents = "none";
    map.getPane("heat").style.pointerEvents = "none";
    shapes = L.layerGroup().addTo(map);
    wedgeShapes = L.layerGroup().addTo(map);
    pins = L.layerGroup().addTo(map);
    draw = new NadirDraw(map, near, function (ring) { post({ type: "area", ring: ring }); });
    new NadirControls.Button(HOME, function () { camera.home(true); }).addTo(map);
    L.control.scale({ imperial: false, maxWidth: 96, position: "bottomleft" }).addTo(map);
    readout = new NadirControls.Readout().addTo(map);
    attribution = new NadirControls.Attribution().addTo(map);
    legend = new NadirControls.Legend().addTo(map);
    legend.show([]);
    attribution.show("");
    post = function () {};
    listen();
    new QWebChannel(qt.webChannelTransport, function (channel) {
      var bridge = channel.objects.nadir;
      post = function (message) { bridge.post(JSON.stringify(message)); };
      bridge.message.connect(receive);
      post({ type: "ready" });
    });
  }

  return { start: start, map: function () { return map; } };
})();
