/* The map page's controls: whole area, readout of the position, attribution, legend. Text only, never markup. */
var NadirControls = (function () {
  "use strict";

  function make(tag, name, parent, text) {
    var element = L.DomUtil.create(tag, name, parent);
    if (text) element.textContent = text;
    return element;
  }

  /** "48.87012° S 123.39023° W": five decimals, about a metre. */
  function position(lat, lon) {
    return (
      Math.abs(lat).toFixed(5) + "° " + (lat < 0 ? "S" : "N") + "  " +
      Math.abs(lon).toFixed(5) + "° " + (lon < 0 ? "W" : "E")
    );
  }

  /** A square button under the zoom buttons. */
  var Button = L.Control.extend({
    options: { position: "topright" },
    initialize: function (path, action) {
      L.Control.prototype.initialize.call(this);
      this._path = path;
      this._action = action;
    },
    onAdd: function () {
      var bar = make("div", "leaflet-bar leaflet-control");
      var button = make("a", "", bar);
      button.href = "#";
      button.setAttribute("role", "button");
      button.innerHTML = '<svg viewBox="0 0 24 24" width="18" height="18" aria-hidden="true"><path d="' + this._path + '"/></svg>';
      L.DomEvent.disableClickPropagation(bar);
      L.DomEvent.on(button, "click", function (event) {
        L.DomEvent.stop(event);
        this._action();
      }, this);
      return bar;
    },
  });

  /** Latitude and longitude under the cursor. */
  var Readout = L.Control.extend({
    options: { position: "bottomleft" },
    onAdd: function () {
      this._text = make("div", "readout leaflet-control");
      L.DomEvent.disableClickPropagation(this._text);
      L.DomEvent.on(this._text, "mousemove", L.DomEvent.stopPropagation);
      return this._text;
    },
    show: function (lat, lon) {
      this._text.textContent = position(lat, lon);
    },
    clear: function () {
      this._text.textContent = "";
    },
  });

  /** Who made the imagery. Always shown, however small the map. */
  var Attribution = L.Control.extend({
    options: { position: "bottomright" },
    onAdd: function () {
      this._text = make("div", "attribution leaflet-control");
      L.DomEvent.disableClickPropagation(this._text);
      return this._text;
    },
    show: function (text) {
      this._text.textContent = text;
      this._text.style.display = text ? "" : "none";
    },
  });

  /** What the marks mean: only those that are on the map now. Folded on a small map until it is opened. */
  var Legend = L.Control.extend({
    options: { position: "topleft" },

    onAdd: function (map) {
      this._box = make("section", "legend leaflet-control");
      this._head = make("button", "legend-head", this._box);
      this._head.type = "button";
      this._rows = make("div", "legend-rows", this._box);
      this._rows.id = "legend-rows";
      this._head.setAttribute("aria-controls", this._rows.id);
      L.DomEvent.disableClickPropagation(this._box);
      L.DomEvent.disableScrollPropagation(this._box);
      L.DomEvent.on(this._head, "click", function () {
        this._chosen = !this._open;
        this._fold(this._chosen);
      }, this);
      map.on("resize", this._fit, this);
      this._map = map;
      this._fit();
      return this._box;
    },

    /** Open when there is room, unless the user said otherwise. */
    _fit: function () {
      var size = this._map.getSize();
      this._fold(this._chosen === undefined ? size.x >= 600 && size.y >= 360 : this._chosen);
    },

    _fold: function (open) {
      this._open = open;
      L.DomUtil[open ? "removeClass" : "addClass"](this._box, "folded");
      this._head.setAttribute("aria-expanded", String(open));
    },

    name: function (title, opacity) {
      this._head.textContent = title;
      this._opacity = opacity;
    },

    /** rows: [{mark: class name, text, ramp: css gradient?, ends: [low, ..., high]?, slider: {value, changed}?}] */
    show: function (rows) {
      this._rows.textContent = "";
      this._box.style.display = rows.length ? "" : "none";
      rows.forEach(function (row) {
        var line = make("div", "legend-row", this._rows);
        if (row.ramp) {
          L.DomUtil.addClass(line, "wide");
          make("div", "legend-text", line, row.text);
          make("div", "legend-ramp", line).style.backgroundImage = row.ramp;
          var ends = make("div", "legend-ends", line);
          row.ends.forEach(function (end) { make("span", "", ends, end); });
          if (row.slider) this._slider(line, row.slider);
          return;
        }
        make("span", "legend-mark " + row.mark, line);
        make("span", "legend-text", line, row.text);
      }, this);
    },

    _slider: function (line, slider) {
      var label = make("label", "legend-slider", line, this._opacity);
      var input = make("input", "", label);
      input.type = "range";
      input.min = 0;
      input.max = 100;
      input.value = Math.round(slider.value * 100);
      L.DomEvent.on(input, "input", function () { slider.changed(Number(input.value) / 100); });
      this.opacityInput = input;
    },
  });

  return { Button: Button, Readout: Readout, Attribution: Attribution, Legend: Legend, position: position };
})();
