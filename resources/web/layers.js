/* What the map page draws: the imagery, the posterior, rank circles, footprints and the wedge of view.
 *
 * Everything here is geometry on the screen. Positions arrive in degrees, ready to draw; nothing is measured or
 * estimated in the page.
 */
var NadirLayers = (function () {
  "use strict";

  var CIRCLE = 24; // diameter of a rank circle with its rim, px
  var DOT = 34; // radius of a dot of the posterior, px
  var PLACE = 5; // radius of the dot of a photo with its rim, px
  var WEDGE_LEAST = 44; // the wedge's radius never falls below this, px

  /** The index's imagery. Leaflet's columns may run past the 180th meridian; the program's do not. */
  var Imagery = L.TileLayer.extend({
    /** Between two levels the finer one is drawn smaller: Leaflet takes the nearer, and stretches it until it is soft. */
    _setView: function (centre, zoom, noPrune, noUpdate) {
      L.TileLayer.prototype._setView.call(this, centre, Math.ceil(zoom - 0.1), noPrune, noUpdate);
      this._setZoomTransforms(centre, zoom);
    },

    createTile: function (coords, done) {
      var tile = L.TileLayer.prototype.createTile.call(this, coords, done);
      tile.style.setProperty("--side", this.getTileSize().x + "px");
      return tile;
    },

    getTileUrl: function (coords) {
      var zoom = this._getZoomForUrl();
      var across = Math.pow(2, zoom);
      return L.Util.template(this._url, {
        z: zoom,
        x: ((coords.x % across) + across) % across,
        y: coords.y,
        r: window.devicePixelRatio > 1 ? "@2x" : "",
      });
    },
  });

  /** The probability of places: soft dots coloured by the ramp, clear where there is nothing. */
  var Posterior = L.GridLayer.extend({
    options: { noWrap: true, keepBuffer: 1, updateWhenZooming: false },

    /** dots: [[lat, lon, value 0..1], ...], longitudes unwrapped. */
    initialize: function (dots, ramp, options) {
      L.GridLayer.prototype.initialize.call(this, options);
      this._ramp = ramp;
      this._dots = dots.map(function (dot) {
        var spot = L.CRS.EPSG3857.latLngToPoint(L.latLng(dot[0], dot[1]), 0);
        return [spot.x, spot.y, dot[2]];
      });
    },

    createTile: function (coords) {
      var canvas = document.createElement("canvas");
      var size = this.getTileSize();
      var dense = window.devicePixelRatio || 1;
      canvas.width = Math.round(size.x * dense);
      canvas.height = Math.round(size.y * dense);
      var context = canvas.getContext("2d");
      context.scale(dense, dense);
      var scale = Math.pow(2, coords.z);
      this._dots.forEach(function (dot) {
        var x = dot[0] * scale - coords.x * size.x;
        var y = dot[1] * scale - coords.y * size.y;
        if (x < -DOT || y < -DOT || x > size.x + DOT || y > size.y + DOT) return;
        var fade = context.createRadialGradient(x, y, 0, x, y, DOT);
        fade.addColorStop(0, this._ramp(dot[2], 1));
        fade.addColorStop(0.6, this._ramp(dot[2], 0.8));
        fade.addColorStop(1, this._ramp(dot[2], 0));
        context.fillStyle = fade;
        context.fillRect(x - DOT, y - DOT, 2 * DOT, 2 * DOT);
      }, this);
      return canvas;
    },
  });

  /** Where photos of an area were taken: small dots, however many. */
  var Places = L.GridLayer.extend({
    options: { noWrap: true, keepBuffer: 1, updateWhenZooming: false },

    /** places: [[lat, lon], ...], longitudes unwrapped. */
    initialize: function (places, options) {
      L.GridLayer.prototype.initialize.call(this, options);
      this._spots = places.map(function (at) { return L.CRS.EPSG3857.latLngToPoint(L.latLng(at[0], at[1]), 0); });
    },

    createTile: function (coords) {
      var canvas = document.createElement("canvas");
      var size = this.getTileSize();
      var dense = window.devicePixelRatio || 1;
      canvas.width = Math.round(size.x * dense);
      canvas.height = Math.round(size.y * dense);
      var context = canvas.getContext("2d");
      context.scale(dense, dense);
      context.fillStyle = "#fff";
      context.strokeStyle = "rgba(0, 0, 0, 0.6)";
      var scale = Math.pow(2, coords.z);
      this._spots.forEach(function (spot) {
        var x = spot.x * scale - coords.x * size.x;
        var y = spot.y * scale - coords.y * size.y;
        if (x < -PLACE || y < -PLACE || x > size.x + PLACE || y > size.y + PLACE) return;
        context.beginPath();
        context.arc(x, y, PLACE - 1, 0, 2 * Math.PI);
        context.fill();
        context.stroke();
      });
      return canvas;
    },
  });

  /** A polygon whose corners keep their fractions of a pixel: Leaflet's own are rounded, and small circles wobble. */
  var Smooth = L.Polygon.extend({
    _projectLatlngs: function (latlngs, rings, bounds) {
      var origin = this._map.getPixelOrigin();
      var ring = latlngs[0].map(function (at) { return this._map.project(at).subtract(origin); }, this);
      ring.forEach(function (point) { bounds.extend(point); });
      rings.push(ring);
    },
  });

  /** A colour for 0..1 out of 256 entries [r, g, b, a], its opacity times `share`. */
  function rampOf(table) {
    return function (value, share) {
      var c = table[Math.max(0, Math.min(255, Math.round(value * 255)))];
      return "rgba(" + c[0] + "," + c[1] + "," + c[2] + "," + (c[3] / 255) * (share === undefined ? 1 : share) + ")";
    };
  }

  /** Push points apart until none are nearer than `least` px; the first ones yield least. Returns new points. */
  function apart(points, least) {
    var moved = points.map(function (p) { return L.point(p.x, p.y); });
    for (var round = 0; round < 24; round++) {
      var quiet = true;
      for (var i = 0; i < moved.length; i++) {
        for (var j = i + 1; j < moved.length; j++) {
          var between = moved[j].subtract(moved[i]);
          var gap = Math.sqrt(between.x * between.x + between.y * between.y);
          if (gap >= least - 0.5) continue;
          quiet = false;
          // Two on one spot have no direction of their own: fan them out by number.
          var angle = gap > 0.01 ? Math.atan2(between.y, between.x) : j * 2.4;
          var push = L.point(Math.cos(angle), Math.sin(angle)).multiplyBy(least - gap);
          if (i > 0) moved[i] = moved[i].subtract(push.multiplyBy(0.25));
          moved[j] = moved[j].add(push.multiplyBy(i > 0 ? 0.75 : 1));
        }
      }
      if (quiet) break;
    }
    return moved;
  }

  /** The outline of what a photo sees from `at`: a sector of the view, or for a panorama a ring with a needle.
   *  heading and fov in degrees, radius in px at the map's zoom. Returns {outline, needle} as positions. */
  function wedge(map, at, heading, fov, radius) {
    var centre = map.project(at);
    var reach = Math.max(WEDGE_LEAST, radius);
    function spot(bearing, distance) {
      var angle = (bearing * Math.PI) / 180;
      return map.unproject(centre.add(L.point(Math.sin(angle), -Math.cos(angle)).multiplyBy(distance)));
    }
    var whole = fov >= 359;
    var from = whole ? 0 : heading - fov / 2;
    var span = whole ? 360 : fov;
    var steps = Math.max(8, Math.ceil(span / 3));
    var outline = whole ? [] : [at];
    for (var i = 0; i <= steps; i++) outline.push(spot(from + (span * i) / steps, reach));
    return { outline: outline, needle: [spot(heading, CIRCLE / 2), spot(heading, reach * (whole ? 1.18 : 1))] };
  }

  /** The rank circle, as Leaflet's icon. */
  function circle(rank, selected) {
    return L.divIcon({
      className: "rank" + (selected ? " selected" : ""),
      html: "<span>" + Number(rank) + "</span>",
      iconSize: [CIRCLE, CIRCLE],
      iconAnchor: [CIRCLE / 2, CIRCLE / 2],
    });
  }

  /** Where the photo says it was taken: a diamond, like nothing else on the map. */
  function ownMark() {
    return L.divIcon({
      className: "own",
      html:
        '<svg viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">' +
        '<path class="casing" d="M12 2 22 12 12 22 2 12Z"/><path class="mark" d="M12 2 22 12 12 22 2 12Z"/>' +
        '<circle cx="12" cy="12" r="2"/></svg>',
      iconSize: [24, 24],
      iconAnchor: [12, 12],
    });
  }

  return {
    CIRCLE: CIRCLE, Imagery: Imagery, Places: Places, Posterior: Posterior, Smooth: Smooth, rampOf: rampOf, apart: apart,
    wedge: wedge, circle: circle, ownMark: ownMark,
  };
})();
