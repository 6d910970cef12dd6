/* Outlines on the map that the program gives, and an area that the user draws on it.
 *
 * A box is drawn by dragging; a polygon corner by corner: a click on the first corner, a double click or Enter closes
 * it, Backspace takes the last corner back, Escape gives it up. Positions are degrees; nothing is measured here.
 */
var NadirDraw = (function () {
  "use strict";

  var CLOSE = 12; // px: so near to the first corner a click closes the polygon
  var LEAST = 6; // px: a smaller box was a click

  /** `near` brings a position to the copy of the world that is shown; `told` is called with the corners drawn. */
  function Draw(map, near, told) {
    this._map = map;
    this._near = near;
    this._told = told;
    this._outlines = null; // {rings, label}
    this._areas = []; // polygons of one ring each
    this._areaLabel = "";
    this._tool = null;
    this._corners = [];
    this._pressed = null;
    this._shown = L.layerGroup().addTo(map);
    this._sketch = L.layerGroup().addTo(map);
    map.on("mousedown", this._down, this);
    map.on("mousemove", this._move, this);
    map.on("click", this._click, this);
    map.on("dblclick", this._double, this);
    document.addEventListener("mouseup", this._up.bind(this));
  }

  Draw.prototype.active = function () { return this._tool !== null; };

  Draw.prototype.outlines = function (message) {
    this._outlines = message.rings.length ? message : null;
    this._draw();
  };

  Draw.prototype.areas = function (message) {
    this._areas = message.polygons;
    this._areaLabel = message.label;
    this._use(message.tool);
    this._draw();
  };

  /** What the program asked for: the part of the map that is in view. */
  Draw.prototype.view = function () {
    var box = this._map.getBounds();
    this._finish([box.getNorthWest(), box.getNorthEast(), box.getSouthEast(), box.getSouthWest()]);
  };

  Draw.prototype.rows = function () {
    var rows = [];
    if (this._outlines && this._outlines.label) rows.push({ mark: "mark-outline", text: this._outlines.label });
    if (this._areas.length && this._areaLabel) rows.push({ mark: "mark-area", text: this._areaLabel });
    return rows;
  };

  Draw.prototype.key = function (event) {
    if (!this._tool) return false;
    if (event.key === "Escape" && (this._corners.length || this._pressed)) this._drop();
    else if (event.key === "Backspace" && this._corners.length) this._corners.pop();
    else if (event.key === "Enter" && this._corners.length > 2) this._finish(this._corners);
    else return false;
    this._drawSketch(null);
    return true;
  };

  /* ---- the two tools ---- */

  Draw.prototype._use = function (tool) {
    var changed = tool !== this._tool;
    this._tool = tool;
    var map = this._map;
    map.dragging[tool === "box" ? "disable" : "enable"]();
    map.doubleClickZoom[tool ? "disable" : "enable"]();
    map.boxZoom[tool ? "disable" : "enable"]();
    L.DomUtil[tool ? "addClass" : "removeClass"](map.getContainer(), "drawing");
    if (changed) this._drop();
  };

  Draw.prototype._drop = function () {
    this._corners = [];
    this._pressed = null;
    this._drawSketch(null);
  };

  Draw.prototype._finish = function (corners) {
    var found = corners.map(function (at) { return [at.lat, at.lng]; });
    this._drop();
    this._told(found);
  };

  Draw.prototype._down = function (event) {
    if (this._tool === "box" && event.originalEvent.button === 0) this._pressed = event.latlng;
  };

  Draw.prototype._up = function (event) {
    if (!this._pressed) return;
    var from = this._pressed;
    var to = this._map.mouseEventToLatLng(event);
    this._pressed = null;
    var apart = this._map.latLngToContainerPoint(from).distanceTo(this._map.latLngToContainerPoint(to));
    if (apart < LEAST) this._drop();
    else this._finish(boxOf(from, to));
  };

  Draw.prototype._move = function (event) {
    if (this._pressed || this._corners.length) this._drawSketch(event.latlng);
  };

  Draw.prototype._click = function (event) {
    if (this._tool !== "polygon") return;
    var spot = this._map.latLngToContainerPoint(event.latlng);
    var first = this._corners[0];
    if (first && this._corners.length > 2 && this._map.latLngToContainerPoint(first).distanceTo(spot) < CLOSE) {
      this._finish(this._corners);
      return;
    }
    var last = this._corners[this._corners.length - 1];
    if (last && this._map.latLngToContainerPoint(last).distanceTo(spot) < 3) return; // the second half of a double click
    this._corners.push(event.latlng);
    this._drawSketch(event.latlng);
  };

  Draw.prototype._double = function () {
    if (this._tool === "polygon" && this._corners.length > 2) this._finish(this._corners);
  };

  function boxOf(a, b) {
    var box = L.latLngBounds(a, b);
    return [box.getNorthWest(), box.getNorthEast(), box.getSouthEast(), box.getSouthWest()];
  }

  /* ---- drawing ---- */

  Draw.prototype._lines = function (rings, name, layer, fill) {
    ["casing", "outline"].forEach(function (part) {
      L.polygon(rings, {
        className: name + " " + part, fill: fill && part === "outline", interactive: false, smoothFactor: 0.5,
      }).addTo(layer);
    });
  };

  Draw.prototype._draw = function () {
    var near = this._near;
    this._shown.clearLayers();
    if (this._outlines) {
      this._lines(this._outlines.rings.map(function (ring) { return ring.map(near); }), "coverage", this._shown, false);
    }
    this._areas.forEach(function (ring) { this._lines([ring.map(near)], "chosen-area", this._shown, true); }, this);
  };

  Draw.prototype._drawSketch = function (cursor) {
    this._sketch.clearLayers();
    if (this._pressed && cursor) this._lines([boxOf(this._pressed, cursor)], "chosen-area", this._sketch, true);
    if (!this._corners.length) return;
    var line = cursor ? this._corners.concat([cursor]) : this._corners;
    if (line.length > 2) this._lines([line], "chosen-area", this._sketch, true);
    else {
      L.polyline(line, { className: "chosen-area casing", interactive: false }).addTo(this._sketch);
      L.polyline(line, { className: "chosen-area outline", interactive: false }).addTo(this._sketch);
    }
    this._corners.forEach(function (at, i) {
      L.circleMarker(at, { radius: i ? 3 : 5, className: "corner", interactive: false }).addTo(this._sketch);
    }, this);
  };

  return Draw;
})();
